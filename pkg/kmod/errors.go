package kmod

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt says that bytes do not have the format they claim to have.
	ErrCorrupt = errors.New("damaged or not of this format")
	// ErrTooLarge says that a size cap was hit; what was read is not returned.
	ErrTooLarge = errors.New("larger than the limit")
	// ErrUnsupported says that a format was recognised but cannot be read here.
	ErrUnsupported = errors.New("unsupported format")
	// ErrNotFound says that a host has no such module, kernel or file.
	ErrNotFound = errors.New("not found")
	// ErrNoModules says that the kernel shows no /proc/modules: it was built
	// without loadable modules, or /proc is not mounted (a container, a chroot).
	ErrNoModules = errors.New("kernel shows no module list")
	// ErrNoCertificate says that none of the certificates given made a signature.
	ErrNoCertificate = errors.New("no certificate for the signer")
	// ErrBadSignature says that a signature does not match what it covers.
	ErrBadSignature = errors.New("signature does not match")
)

// corrupt makes an error that wraps ErrCorrupt and says what is wrong.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// tooLarge makes an error that wraps ErrTooLarge and says what is too large.
func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))
}
