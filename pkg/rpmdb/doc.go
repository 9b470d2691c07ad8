// Package rpmdb reads the installed-package database of rpm without rpm and
// without changing anything: Berkeley DB hash files (EL7, EL8) and SQLite files
// with their write-ahead log (EL9, EL10).
//
// Reading creates no file and takes no lock. A database that another process
// changes meanwhile is noticed and read again; one that keeps changing gives
// ErrChanged. A damaged, truncated or half-written database gives ErrCorrupt,
// naming the page or the row, and never a list that is merely shorter: row
// counts are checked against what the database records elsewhere. What a row
// holds is checked by the digests in its header (rpmhdr.Header.VerifyDigests)
// or its signature, which is the caller's choice, since it costs more than
// reading.
//
// The formats: SQLite, https://www.sqlite.org/fileformat2.html; Berkeley DB, the
// structures in its dbinc/db_page.h; the tables and records, rpm's
// lib/backend/sqlite.c and lib/backend/bdb_ro.c, as seen in real databases.
package rpmdb
