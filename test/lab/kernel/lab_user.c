// lab_user.c - needs lab_base's symbol and some of the kernel's; signed by a vendor that the kernel does not know.
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

int lab_base_level(int by);
static void lab_work(struct work_struct *work) { }
static DECLARE_WORK(work, lab_work);
static void *memory;

static int __init lab_user_init(void)
{
	memory = kmalloc(lab_base_level(64), GFP_KERNEL);
	schedule_work(&work);
	return memory ? 0 : -ENOMEM;
}
static void __exit lab_user_exit(void)
{
	cancel_work_sync(&work);
	kfree(memory);
}
module_init(lab_user_init);
module_exit(lab_user_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("2.0");
MODULE_DESCRIPTION("lab: signed by a vendor");
