#include "phases/feed.h"

/* 1 where one more batch is being read. */
static int ask(fs_feed *feed)
{
    int begin, end, left = feed->data->images - feed->asked, images = left < feed->batch ? left : feed->batch;
    if (images <= 0)
        return 0;
    fs_slots_share(feed->own, images, &begin, &end);
    if (!fs_stream_ahead(feed->data->stream, end - begin, feed->order + feed->asked + begin))
        return 0;
    feed->asked += images;
    return 1;
}

void fs_feed_start(fs_feed *feed, int first)
{
    feed->asked = first;
    if (feed->data->stream)
        fs_stream_forget(feed->data->stream);
}

fs_status fs_feed_next(fs_feed *feed)
{
    if (!feed->data->stream)
        return FS_OK;
    while (ask(feed))
        continue;
    fs_status status = fs_stream_next(feed->data->stream);
    while (!status && ask(feed)) /* in the place of the batch before */
        continue;
    return fs_agree(feed->own->comm, status);
}
