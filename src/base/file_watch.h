/* An end to waiting for a file system that no longer answers. */
#ifndef FILTERSCOPE_BASE_FILE_WATCH_H
#define FILTERSCOPE_BASE_FILE_WATCH_H

/* Not collective; main thread only. From here to fs_file_watch_end the process may spend 120 s, or what the environment
 * variable FILTERSCOPE_FILE_SECONDS says. After these it prints "PATH: to DOING it has not ended ...", with the kernel's
 * function that the main thread waits in, and exits with FS_LOST: what is in the file stays. `path` and `doing` ("open",
 * "close" ...) are borrowed until the end. Of nested ones the outermost counts. */
void fs_file_watch_begin(const char *path, const char *doing);
void fs_file_watch_end(void);

#endif
