// lab_forced.c - loaded with its version checks off.
#include <linux/module.h>

static int __init lab_forced_init(void) { return 0; }
static void __exit lab_forced_exit(void) { }
module_init(lab_forced_init);
module_exit(lab_forced_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("lab: force-loaded");
