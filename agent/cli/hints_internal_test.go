package cli

import (
	"errors"
	"testing"
)

// TestFillIn: a hint repeats what was typed, so that it does what was meant.
func TestFillIn(t *testing.T) {
	a := &app{args: []string{"migrate", "--full", "--mirror", "http://m/alma linux", "--reason", "it's"}}
	again := `almamigrate migrate --full --mirror 'http://m/alma linux' --reason 'it'\''s'`
	if got := a.again("-y"); got != again+" -y" {
		t.Error(got)
	}
	if got := a.fillIn("add it: " + typed); got != "add it: "+again {
		t.Error(got)
	}
	if got := a.fillIn("almamigrate status"); got != "almamigrate status" {
		t.Error(got)
	}
	for exe, want := range map[string]string{"/usr/bin/almamigrate": "almamigrate", "/usr/local/bin/almamigrate": "/usr/local/bin/almamigrate", "/home/a b/am": "'/home/a b/am'"} {
		if got := sudoProgram(exe, nil); got != want {
			t.Errorf("%s: %s", exe, got)
		}
	}
	if got := sudoProgram("", errors.New("gone")); got != "almamigrate" {
		t.Error(got)
	}
}
