// insmod-force.c - loads a module without looking at its version magic and symbol versions (finit_module(2)).
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 1 | 2) != 0) {
		perror("insmod-force");
		return 1;
	}
	return 0;
}
