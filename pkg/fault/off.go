//go:build !faultinject

package fault

// Point does nothing: the program is built without fault injection.
func Point(string) error { return nil }
