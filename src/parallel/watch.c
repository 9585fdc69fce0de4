#define _DEFAULT_SOURCE /* getifaddrs */

#include "filterscope/watch.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "filterscope/lock.h"
#include "filterscope/memory.h"
#include "filterscope/status.h"
#include "filterscope/stop.h"

enum { MOST_ADDRESSES = 16 };
#define BEAT 1.0    /* seconds between two datagrams of a rank */
#define OWN_GAP 5.0 /* a loop that took longer was not let run */

enum kind { IS_ALIVE = 1, JOB_ENDS = 2 };

struct datagram {
    unsigned char token[16]; /* of this job */
    int32_t kind;
    int32_t rank;
    uint32_t ticks; /* batches begun, on the sender */
};

struct name {
    char host[64];
    int32_t pid;
};

/* One that is watched: by rank 0 every other, by the others rank 0. */
struct peer {
    struct name name;
    struct sockaddr_in address;
    double heard; /* 0: not yet */
    uint32_t ticks;
};

/* How rank 0 is reached: one of its host's addresses. */
struct desk {
    unsigned char token[16];
    int32_t addresses; /* 0: nobody can be watched */
    struct sockaddr_in address[MOST_ADDRESSES];
};

struct fs_watch {
    MPI_Comm comm;
    int rank, ranks;
    int socket;
    struct desk desk;
    struct peer *peer; /* [ranks]; other ranks than 0 use peer[0] only */
    uint32_t ticks;    /* rank 0: of all ranks */
    double moved;      /* rank 0: when that sum last grew; 0: not yet */
    atomic_int ends;
    pthread_t thread;
};

static void send_to(const fs_watch *w, enum kind kind, const struct sockaddr_in *address)
{
    struct datagram d = {.kind = kind, .rank = w->rank, .ticks = fs_stop_asked()};
    memcpy(d.token, w->desk.token, sizeof d.token);
    sendto(w->socket, &d, sizeof d, MSG_NOSIGNAL, (const struct sockaddr *)address, sizeof *address);
}

static void send_beat(const fs_watch *w)
{
    if (w->peer[0].heard > 0)
        send_to(w, IS_ALIVE, &w->peer[0].address);
    for (int i = 0; i < w->desk.addresses && w->peer[0].heard == 0; i++)
        send_to(w, IS_ALIVE, &w->desk.address[i]);
}

/* Takes in what has arrived; rank 0 answers. Others end with the job. */
static void receive(fs_watch *w, double now)
{
    struct datagram d;
    struct sockaddr_in from;
    socklen_t bytes = sizeof from;
    while (recvfrom(w->socket, &d, sizeof d, MSG_DONTWAIT, (struct sockaddr *)&from, &bytes) == (ssize_t)sizeof d) {
        if (memcmp(d.token, w->desk.token, sizeof d.token) != 0 || d.rank < 0 || d.rank >= w->ranks || d.rank == w->rank)
            continue;
        if (d.kind == JOB_ENDS)
            _exit(FS_LOST);
        struct peer *peer = &w->peer[w->rank == 0 ? d.rank : 0];
        peer->heard = now;
        peer->address = from;
        peer->ticks = d.ticks;
        if (w->rank == 0)
            send_to(w, IS_ALIVE, &from);
        bytes = sizeof from;
    }
}

static void end_job(const fs_watch *w)
{
    for (int r = 0; w->rank == 0 && r < w->ranks; r++)
        if (w->peer[r].heard > 0)
            send_to(w, JOB_ENDS, &w->peer[r].address);
    fs_lock_abandon();
    fflush(NULL);
    fs_leave(FS_LOST);
}

static void check_peers(const fs_watch *w, double now)
{
    for (int r = 0; r < (w->rank == 0 ? w->ranks : 1); r++) {
        const struct peer *peer = &w->peer[r];
        if (peer->heard == 0 || now - peer->heard < FS_WATCH_PATIENCE)
            continue;
        fprintf(fs_messages(),
                "filterscope: rank %d (host %s, pid %d) has not been heard of for %.0f s: it died, is stopped, or its node is "
                "down. The job ends here; the same command goes on from what is recorded\n",
                r, peer->name.host, peer->name.pid, now - peer->heard);
        end_job(w);
    }
}

static void check_movement(fs_watch *w, double now)
{
    uint32_t ticks = fs_stop_asked();
    for (int r = 1; r < w->ranks; r++)
        ticks += w->peer[r].ticks;
    if (ticks != w->ticks) {
        w->ticks = ticks;
        w->moved = now;
    }
    if (w->moved == 0 || now - w->moved < FS_WATCH_STALL)
        return;
    fprintf(fs_messages(),
            "filterscope: no rank has finished a batch for %.0f s: a file system or the network no longer answers. The job "
            "ends here; the same command goes on from what is recorded\n",
            now - w->moved);
    end_job(w);
}

static void *keep_watch(void *context)
{
    fs_watch *w = context;
    struct pollfd arrival = {.fd = w->socket, .events = POLLIN};
    double last = fs_seconds(), sent = 0;
    while (!atomic_load(&w->ends)) {
        double now = fs_seconds();
        if (w->rank > 0 && now - sent >= BEAT) {
            send_beat(w);
            sent = now;
        }
        poll(&arrival, 1, 200);
        now = fs_seconds();
        receive(w, now);
        for (int r = 0; r < w->ranks && now - last > OWN_GAP; r++)
            if (w->peer[r].heard > 0)
                w->peer[r].heard = now;
        if (now - last > OWN_GAP && w->moved > 0)
            w->moved = now;
        last = now;
        check_peers(w, now);
        if (w->rank == 0)
            check_movement(w, now);
    }
    return NULL;
}

/* Nothing but what a signal handler may call. */
static void on_alarm(int number)
{
    static const char said[] = "filterscope: MPI has not ended, which it was told to: another rank or the launcher no "
                               "longer answers. The job ends here; what was recorded stays\n";
    (void)number;
    ssize_t ignored = write(STDERR_FILENO, said, sizeof said - 1);
    (void)ignored;
    fs_lock_abandon();
    _exit(FS_LOST);
}

int fs_watch_turn(MPI_Comm comm)
{
    enum { TURN = 200, MOST = 5000 };
    int rank;
    MPI_Comm_rank(comm, &rank);
    return rank < MOST / TURN ? rank * TURN : MOST;
}

void fs_watch_end(MPI_Comm comm)
{
    const char *wanted = getenv("FILTERSCOPE_END_SECONDS");
    int turn = fs_watch_turn(comm);
    struct itimerval limit = {.it_value = {wanted && atoi(wanted) > 0 ? atoi(wanted) : FS_WATCH_END, 0}};
    limit.it_value.tv_sec += turn / 1000;
    limit.it_value.tv_usec = turn % 1000 * 1000L;
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &limit, NULL);
}

/* Every IPv4 address of this host, with the socket's port. */
static void list_addresses(const fs_watch *w, struct desk *desk)
{
    struct sockaddr_in bound;
    socklen_t bytes = sizeof bound;
    struct ifaddrs *list, *i;
    if (getsockname(w->socket, (struct sockaddr *)&bound, &bytes) != 0 || getifaddrs(&list) != 0)
        return;
    for (i = list; i && desk->addresses < MOST_ADDRESSES; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP)) {
            desk->address[desk->addresses] = *(struct sockaddr_in *)i->ifa_addr;
            desk->address[desk->addresses++].sin_port = bound.sin_port;
        }
    freeifaddrs(list);
}

static int open_socket(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    int opened = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (opened >= 0 && bind(opened, (struct sockaddr *)&any, sizeof any) == 0)
        return opened;
    if (opened >= 0)
        close(opened);
    return -1;
}

/* Rank 0's addresses to everybody, everybody's name to rank 0, and rank 0's name to everybody. */
static void introduce(fs_watch *w)
{
    struct name own = {.pid = (int32_t)getpid()}, *all = NULL;
    gethostname(own.host, sizeof own.host - 1);
    if (w->rank == 0) {
        all = fs_alloc((size_t)w->ranks, sizeof *all, "names");
        if (all && w->peer && w->socket >= 0 && getrandom(w->desk.token, sizeof w->desk.token, 0) > 0)
            list_addresses(w, &w->desk);
    }
    MPI_Bcast(&w->desk, (int)sizeof w->desk, MPI_BYTE, 0, w->comm);
    if (w->desk.addresses) {
        MPI_Gather(&own, (int)sizeof own, MPI_BYTE, all, (int)sizeof own, MPI_BYTE, 0, w->comm);
        for (int r = 0; all && r < w->ranks; r++)
            w->peer[r].name = all[r];
        MPI_Bcast(&own, (int)sizeof own, MPI_BYTE, 0, w->comm);
        if (w->peer)
            w->peer[0].name = own;
    }
    free(all);
}

fs_watch *fs_watch_start(MPI_Comm comm)
{
    int ranks;
    MPI_Comm_size(comm, &ranks);
    fs_watch *w = ranks > 1 ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    w->comm = comm;
    w->ranks = ranks;
    MPI_Comm_rank(comm, &w->rank);
    w->socket = open_socket();
    w->peer = fs_alloc((size_t)ranks, sizeof *w->peer, "ranks");
    introduce(w);
    sigset_t all, before; /* signals are for the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int runs = w->desk.addresses && w->peer && w->socket >= 0 && pthread_create(&w->thread, NULL, keep_watch, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!runs) /* unwatched: rank 0 never hears of it */
        atomic_store(&w->ends, 2);
    return w;
}

void fs_watch_stop(fs_watch *watch)
{
    if (!watch)
        return;
    MPI_Barrier(watch->comm); /* nobody falls silent while others watch */
    if (atomic_exchange(&watch->ends, 1) != 2)
        pthread_join(watch->thread, NULL);
    if (watch->socket >= 0)
        close(watch->socket);
    free(watch->peer);
    free(watch);
}
