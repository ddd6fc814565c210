// Files that the data plane sends.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Opens `path`, which is relative, for reading below the folder `root`; nothing on the way leads out of it, neither ".." nor
// a symbolic link. Never waits (for a pipe's other end). Returns a descriptor or a negative error number.
int afloat_open_beneath(const char *root, const char *path);
// 0: a plain file, whose size and time of change are told; 1: a folder; or a negative error number, -EINVAL for others.
int afloat_file_version(int file, int64_t *byte_count, int64_t *modified_second, int64_t *modified_nanosecond);
// Reads what is in memory already. Bytes read, 0 at the end, -EAGAIN when the disk would have to be waited for.
ssize_t afloat_read_cached(int file, void *bytes, size_t room, int64_t offset);
// Tells the kernel that this part is about to be read; does not wait for it.
void afloat_read_ahead(int file, int64_t offset, int64_t count);
// Sends a part of a file. Bytes sent, 0 at the end of the file, or a negative error number.
ssize_t afloat_send_file(int socket, int file, int64_t offset, size_t count);
