// lab_closed.c - says that its licence is proprietary.
#include <linux/module.h>

static int __init lab_closed_init(void) { return 0; }
static void __exit lab_closed_exit(void) { }
module_init(lab_closed_init);
module_exit(lab_closed_exit);
MODULE_LICENSE("Proprietary");
MODULE_VERSION("9.0");
MODULE_DESCRIPTION("lab: proprietary");
