// Package rpmver holds the values rpm's dependency language is made of:
// versions (EVR), package identities (NEVRA), plain dependencies (Dep) and
// rich, or boolean, dependencies (Rich), with rpm's rules for ordering and for
// range overlap.
//
// The ordering of two version or release strings is that of
// github.com/knqyf263/go-rpm-version; everything around it (epochs, where the
// release starts, overlap of ranges, missing releases) is done here, because
// that module answers it differently from rpm. Strings without '~' and '^',
// nearly all, are compared here, to the same result, for the module splits both
// with a regular expression.
package rpmver
