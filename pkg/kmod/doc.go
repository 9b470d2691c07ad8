// Package kmod reads everything that a host and its packages say about kernel
// modules: what is loaded, which files stand behind the names, what a module
// file imports, exports and is signed with, which aliases claim which devices,
// what the root disk and the network cards hang on, and what an initramfs
// carries. It judges nothing: it returns facts and offers the comparisons
// ([CompareImports], [AliasTable.Match], [Vermagic.Compatible]) that a verdict
// is made of.
//
// Everything that belongs to a host is read below one folder (see [Open]), with
// proc and sys as folders of it, so that a copied tree is read the way the
// running host is. Nothing is written and no program is started.
//
// All parsers take hostile bytes: sizes and depths are capped, damage is an
// error that wraps [ErrCorrupt] or [ErrTooLarge], and no parser returns part of
// a list without an error.
package kmod
