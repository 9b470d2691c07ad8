package cli

// UnpackDemo unpacks the built-in host and mirror to dir.
func UnpackDemo(dir string) error { return unpack(demoArchive, dir) }
