// Package boot reads how a host boots: the firmware and its variables, the EFI
// system partitions, the boot loader's entries and environment. It reads below
// a root, so that images and captured hosts read as the running one does, and
// judges nothing.
//
// Formats: UEFI Specification 2.10, sections 3 (Boot manager), 10 (device
// paths) and 32.4 (signature lists); efivarfs of the kernel
// (Documentation/filesystems/efivarfs.rst); the Boot Loader Specification of
// the UAPI group as EL's grub2 reads it; GRUB's environment block.
package boot
