/* One line every few seconds about a pass over images. */
#ifndef FILTERSCOPE_PROGRESS_H
#define FILTERSCOPE_PROGRESS_H

typedef struct fs_progress {
    const char *what; /* borrowed */
    int speaks;       /* this process prints */
    double started, last;
    double from;  /* images that were done at the start */
    double after; /* images to go when the present pass is through */
} fs_progress;

/* Not collective. */
void fs_progress_start(fs_progress *progress, const char *what, int speaks, double from, double after);

/* Not collective. `done` of `images` are through, with a summed loss (NaN: not printed) and a number of right answers;
 * prints a line when the last one is some seconds old. */
void fs_progress_batch(fs_progress *progress, double done, double images, double loss, double right);

#endif
