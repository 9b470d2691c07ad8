// Package capture saves files, folders and symbolic links of a host so that
// they can be put back exactly: content, owner, mode, time, POSIX ACLs and all
// other extended attributes (SELinux labels, capabilities), hard links among
// them, and that something was not there.
//
// A saved set is a folder:
//
//	manifest.json   what was there, with a sha256 of every content
//	c/000001 ...    the contents
//	after.json      what was there after the change, once RecordAfter was called
//	clash-1/ ...    saved sets of what Restore replaced although it was not ours
//
// Restoring is a three-way merge, path by path. What is as it was is left
// alone, what is as the change left it goes back, what only others have changed
// stays, and where both the change and others have, the saved state comes back
// and theirs is kept as a saved set of its own. Restore may be run again after
// any interruption.
//
// No symbolic link is followed on the way to a path: paths are resolved once,
// below the root, when they are saved, and every folder is opened without
// following links from then on. Nothing outside the root can be touched.
package capture
