// Package repack rebuilds an installed package as a package file, from its
// header in the installed-package database and its files on disk, so that rpm
// can install it again when no repository has it any more.
//
// The header is written byte for byte as the distribution built and signed it,
// so that its signature and its digests stay good, and the signature header
// gets back what rpm had taken from it. The archive is made as rpm makes it:
// its numbers come from the header, only the content of regular files from the
// disk, and each content is compared with the digest in the signed header on
// its way. Compressed by the same library, it is the original archive to the
// last bit (Report.Exact, proven by the digests that the header holds); such a
// file passes every check of rpm. Otherwise rpm must be told to leave out the
// checks of whole packages: see InstallOptions. What is in the files is proven
// in either case.
//
// Formats: Linux Standard Base Core, "Package File Format"; rpm's
// docs/manual/format.md; cpio(5), "newc".
package repack
