// Package rpmsig reads OpenPGP keys and verifies the signatures that rpm knows:
// those over package headers, in the installed-package database and in package
// files, and detached ones such as repomd.xml.asc.
//
// Formats: RFC 4880 (version 4 packets, and version 3 signatures), RFC 9580
// (version 6 packets); where a header keeps its signatures is in package
// rpmhdr. Keys and version 4 and 6 signatures are read by
// github.com/ProtonMail/go-crypto; version 3 signatures, which every package of
// EL5 to EL8 carries and that module refuses, are read here.
//
// The package states facts and leaves policy to its callers: a signature made
// with SHA-1 or MD5, or by a key smaller than 2048 bits, is judged like any
// other and marked Weak. A key that has expired since does not spoil a
// signature that it made before: signatures are judged at the time they were
// made, and Result tells that the key has expired. What is refused outright:
// signatures made before their key existed or after it expired, by keys revoked
// as compromised or before the signature was made, by subkeys that their
// primary key does not vouch for, or by keys not meant for signing.
package rpmsig
