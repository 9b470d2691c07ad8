package rootfs

// FlagsByIoctl is how kernels without statx(2) are asked.
var FlagsByIoctl = flagsByIoctl
