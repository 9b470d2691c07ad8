package kmod

// ParseShellVars reads the assignments of a dkms.conf.
var ParseShellVars = parseShellVars
