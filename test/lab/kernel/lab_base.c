// lab_base.c - an out-of-tree module without a signature that another one builds on.
#include <linux/module.h>
#include <linux/printk.h>

int lab_base_level(int by);
int lab_base_level(int by)
{
	pr_debug("lab_base: level %d\n", by);
	return by + 1;
}
EXPORT_SYMBOL_GPL(lab_base_level);

static int __init lab_base_init(void) { return 0; }
static void __exit lab_base_exit(void) { }
module_init(lab_base_init);
module_exit(lab_base_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("1.2.3");
MODULE_DESCRIPTION("lab: out of tree, not signed");
