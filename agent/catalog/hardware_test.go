package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
)

func TestHardware(t *testing.T) {
	c, err := catalog.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		driver, modalias  string
		major             int
		dropped, restored bool
	}{
		// HP Smart Array of the Compaq age: by class
		{"hpsa", "pci:v00000E11d00000046sv00000E11sd00004091bc01sc04i00", 9, false, true},
		{"hpsa", "pci:v00000E11d00000046sv00000E11sd00004091bc01sc00i00", 9, false, false},
		// an LSI SAS2008 went with RHEL 8 and is back in all AlmaLinux kernels
		{"mpt3sas", "pci:v00001000d00000072sv00001028sd00001F1Cbc01sc07i00", 8, true, true},
		{"mpt3sas", "pci:v00001000d00000072sv00001028sd00001F1Cbc01sc07i00", 7, false, false},
		{"mpt3sas", "pci:v00001000d00000072sv00001028sd00001F1Cbc01sc07i00", 10, true, true},
		// ConnectX-3 goes with RHEL 10
		{"mlx4_core", "pci:v000015B3d00001003sv000015B3sd00000055bc02sc80i00", 9, false, false},
		{"mlx4_core", "pci:v000015B3d00001003sv000015B3sd00000055bc02sc80i00", 10, true, true},
		// subsystem ids count
		{"aacraid", "pci:v00001011d00000046sv0000103Csd000010C2bc0Bsc40i00", 8, true, true},
		{"aacraid", "pci:v00001011d00000046sv0000103Csd000010C3bc0Bsc40i00", 8, false, false},
		{"aacraid", "usb:v1011p0046d0100dc00dsc00dp00ic08isc06ip50in00", 8, false, false},
	} {
		h, ok := c.Hardware(tc.driver)
		if !ok {
			t.Fatalf("nothing is known of %s", tc.driver)
		}
		if got := h.Dropped(tc.major, tc.modalias); got != tc.dropped {
			t.Errorf("%s %s: dropped in RHEL %d is %v, want %v", tc.driver, tc.modalias, tc.major, got, tc.dropped)
		}
		if got := h.Restored(tc.major, tc.modalias); got != tc.restored {
			t.Errorf("%s %s: restored in AlmaLinux %d is %v, want %v", tc.driver, tc.modalias, tc.major, got, tc.restored)
		}
	}
	if h, ok := c.Hardware("3w-9xxx"); !ok || !h.Known || len(h.RHEL) != 1 || len(h.Maintained) != 0 {
		t.Errorf("3w-9xxx, a driver that ends with RHEL 7: got %+v, %v", h, ok)
	}
	if _, ok := c.Hardware("virtio_blk"); ok {
		t.Error("virtio_blk was never dropped")
	}
	for _, s := range c.HardwareSources() {
		if s.Title == "" || s.URL == "" || len(s.Checked) != len("2006-01-02") {
			t.Errorf("a source without title, URL or date: %+v", s)
		}
	}
	if n := len(c.HardwareSources()); n != 2 {
		t.Errorf("%d sources, want 2", n)
	}
}

func TestHardwareData(t *testing.T) {
	for name, text := range map[string]string{
		"short id": "[hardware foo]\nuntil_8 = 1000\n", "not hex": "[hardware foo]\nuntil_8 = 1000:zzzz\n",
		"major": "[hardware foo]\nuntil_x = 1000:0001\n", "key": "[hardware foo]\nbar = 1\n", "source key": "[hardware-source foo]\nbar = 1\n",
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, catalog.Dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, catalog.Dir, "a.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := catalog.Load(root); !errors.Is(err, catalog.ErrData) {
			t.Errorf("%s: error %v, want ErrData", name, err)
		}
	}
}
