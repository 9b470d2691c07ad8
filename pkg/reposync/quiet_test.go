package reposync_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// quiet keeps expected handshake failures out of the tests' output.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

const childEnv = "REPOSYNC_TEST_CHILD"

// TestMain makes the test binary another process that syncs, where asked.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	s, err := reposync.New(reposync.Options{CacheDir: os.Getenv("CHILD_CACHE"), Retries: -1})
	if err == nil {
		var got *reposync.Synced
		if got, err = s.Sync(context.Background(), reposync.Repo{ID: "child", BaseURLs: []string{os.Getenv("CHILD_URL")}}); err == nil {
			fmt.Printf("revision %s\n", got.Revision)
			os.Exit(0)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}
