package boot

// WriteOnly writes an entry without reading it first or back.
func WriteOnly(v *Variables, number uint16, raw []byte) error { return v.write(EntryName(number), raw) }

// GrubScript checks the structure of a GRUB script.
var GrubScript = grubScript
