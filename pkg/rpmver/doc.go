// Package rpmver holds the values rpm's dependency language is made of:
// versions (EVR), package identities (NEVRA), plain dependencies (Dep) and
// rich, or boolean, dependencies (Rich), with rpm's rules for ordering and for
// range overlap.
//
// The ordering of two version or release strings is that of
// github.com/knqyf263/go-rpm-version; everything around it (epochs, where the
// release starts, overlap of ranges, missing releases) is done here, because
// that module answers it differently from rpm. A comparison of two different
// strings costs microseconds, as it splits both with a regular expression:
// group packages by name first and compare inside a group, and do not sort a
// whole repository by EVR.
package rpmver
