; The worker threads of a process, and the loop that kernels hand to them. Linux; no C compiler is needed.
;
;   void mlc_parallel_for(const team *, void (*body)(void *, int64_t, int64_t, char *own), void *context, int64_t count,
;                         int64_t grain, int64_t cost)
;   void mlc_run_alone(…), void mlc_run_backwards(…)
;                                the same for a caller alone: all at once; pieces of the grain, the last one first
;   void mlc_pool_stop(void)     ends the workers; loops are run by their callers from then on
;   void mlc_pool_reset(void)    forgets the workers: for the child after a fork, which has none of them
;
; body(context, begin, end, own) runs the iterations begin to end of 0 to count; `own`: memory of the thread for private
; buffers, null for the caller, which has the context's. `cost`: of an iteration, as scf-parallel-outline reckons it. One
; loop is on offer at a time; a caller that finds the pool taken runs its loop alone. The caller always works. Each thread
; has a part of the iterations, the same one in every loop, because what it wrote there is in its core's caches; who is
; done takes from the parts of the others. A loop of little work is offered to workers that are awake; it wakes one only
; when such loops, close upon each other, come to much together. The caller waits for nobody but a worker in the middle
; of a piece, and when that takes longer than it can explain, because the worker lost its core to another process, the
; pool rests for a while: a caller alone is slow once, a caller that waits is slow at every loop. Workers leave the
; caller's processor to it: a scheduler that finds the other ones halted (a virtual machine after a pause) wakes them there,
; and the caller has done the loop alone before they run.

%team = type { ptr, i64, ptr }                     ; how loops run, number of threads, how those run that stream memory

@offer = internal global i64 0, align 128          ; free places << 16 | workers that joined and have not left
@next = internal global [64 x [16 x i64]] zeroinitializer, align 128 ; of each part, the first grain nobody has taken
@body = internal global ptr null, align 128        ; the loop on offer: constant while somebody has joined
@context = internal global ptr null
@count = internal global i64 0
@grain = internal global i64 0
@grains = internal global i64 0
@parts = internal global i64 0
@float_mode = internal global i64 0
@taken = internal global i32 0, align 128          ; a caller has the pool
@workers = internal global i64 0
@rest_until = internal global i64 0
@missed = internal global i64 0                    ; cost of the loops that were too little to wake somebody for
@missed_at = internal global i64 0                 ; when the last of them ended
@enough = internal global i64 200000               ; of that, to wake somebody: twice as much after it was of no use
@shared = internal global i64 1200000              ; cost of the little loops offered since somebody was woken for such
@allowed = internal global [16 x i64] zeroinitializer, align 64 ; processors of the thread that hired the workers, bits
@avoided = internal global i32 -1                  ; the one of them that the workers may not run on
@sleepers = internal global i32 0, align 128
@waiting = internal global i32 0                   ; the caller sleeps until the last worker leaves
@stopping = internal global i32 0
@mutex = internal global [64 x i8] zeroinitializer, align 64
@offered = internal global [64 x i8] zeroinitializer, align 64
@left = internal global [64 x i8] zeroinitializer, align 64
@threads = internal global [4096 x i64] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_attr_destroy(ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
declare i32 @sched_getcpu()
declare i64 @pthread_self()
declare i32 @pthread_getaffinity_np(i64, i64, ptr)
declare i32 @pthread_setaffinity_np(i64, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i32 @clock_gettime(i32, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)

; Nanoseconds.
define internal i64 @now() nounwind {
  %t = alloca { i64, i64 }
  call i32 @clock_gettime(i32 1, ptr %t)
  %s = load i64, ptr %t
  %at = getelementptr { i64, i64 }, ptr %t, i64 0, i32 1
  %n = load i64, ptr %at
  %w = mul i64 %s, 1000000000
  %r = add i64 %w, %n
  ret i64 %r
}

; Look at @offer until it is 0 (for the caller) or has a free place (for a worker), or 50 us are over: whether it is so.
define internal i1 @spin(i1 %for_caller) nounwind {
start:
  %begin = call i64 @now()
  br label %round
round:
  %rounds = phi i32 [ 1, %start ], [ %rounds.next, %time ]
  %rounds.next = add i32 %rounds, 1
  br label %look
look:
  %k = phi i32 [ 0, %round ], [ %more, %again ]
  %o = load atomic i64, ptr @offer monotonic, align 8
  %empty = icmp eq i64 %o, 0
  %places = icmp ugt i64 %o, 65535
  %good = select i1 %for_caller, i1 %empty, i1 %places
  br i1 %good, label %yes, label %again
again:
  call void @relax()
  %more = add i32 %k, 1
  %enough = icmp eq i32 %more, 32
  br i1 %enough, label %clock, label %look
clock:
  %eighth = and i32 %rounds, 7
  %polite = icmp eq i32 %eighth, 0
  br i1 %polite, label %give.way, label %time
give.way:                                          ; whoever waits for this core, the other side perhaps, goes first
  call i32 @sched_yield()
  br label %time
time:
  %t = call i64 @now()
  %d = sub i64 %t, %begin
  %late = icmp sgt i64 %d, 50000
  br i1 %late, label %no, label %round
yes:
  ret i1 true
no:
  ret i1 false
}

; Where a part begins, in grains; that of a part is where the next one begins.
define internal i64 @begin_of(i64 %part) nounwind {
  %grains = load i64, ptr @grains
  %parts = load i64, ptr @parts
  %most = mul i64 %grains, %part
  %at = sdiv i64 %most, %parts
  ret i64 %at
}

; Run iterations until none is left: half of what is left of the own part, and so on, then of the others'. How many.
define internal i64 @work(i64 %me, ptr %own) nounwind {
start:
  %body = load ptr, ptr @body
  %context = load ptr, ptr @context
  %count = load i64, ptr @count
  %grain = load i64, ptr @grain
  %parts = load i64, ptr @parts
  br label %visit
visit:
  %k = phi i64 [ 0, %start ], [ %k1, %leave ]
  %before = phi i64 [ 0, %start ], [ %total, %leave ]
  %turn = add i64 %me, %k
  %part = srem i64 %turn, %parts
  %following = add i64 %part, 1
  %end = call i64 @begin_of(i64 %following)
  %next = getelementptr [64 x [16 x i64]], ptr @next, i64 0, i64 %part
  br label %look
look:
  %total = phi i64 [ %before, %visit ], [ %done, %run ]
  %at = load atomic i64, ptr %next monotonic, align 8
  br label %try
try:
  %first = phi i64 [ %at, %look ], [ %seen, %take ]
  %rest = sub i64 %end, %first
  %any = icmp sgt i64 %rest, 0
  br i1 %any, label %take, label %leave
take:
  %more = add i64 %rest, 1
  %size = sdiv i64 %more, 2
  %last = add i64 %first, %size
  %pair = cmpxchg ptr %next, i64 %first, i64 %last monotonic monotonic
  %seen = extractvalue { i64, i1 } %pair, 0
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %run, label %try
run:
  %from = mul i64 %first, %grain
  %up = mul i64 %last, %grain
  %to = call i64 @llvm.smin.i64(i64 %up, i64 %count)
  call void %body(ptr %context, i64 %from, i64 %to, ptr %own)
  %ran = sub i64 %to, %from
  %done = add i64 %total, %ran
  br label %look
leave:
  %k1 = add i64 %k, 1
  %others = icmp slt i64 %k1, %parts
  br i1 %others, label %visit, label %out
out:
  ret i64 %total
}

; A thread of the pool: look for an offer, sleep when there is none, join, work, leave.
define internal ptr @worker(ptr %number) nounwind {
start:
  %me = ptrtoint ptr %number to i64
  %own = alloca [2097152 x i8], align 64           ; untouched pages cost nothing
  br label %idle
idle:
  %soon = call i1 @spin(i1 false)
  br i1 %soon, label %join, label %sleep
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @sleepers, i32 1 seq_cst
  %s = load atomic i32, ptr @stopping seq_cst, align 4
  %stop = icmp ne i32 %s, 0
  %o = load atomic i64, ptr @offer seq_cst, align 8
  %places = icmp ugt i64 %o, 65535
  %wake = or i1 %stop, %places
  br i1 %wake, label %up, label %wait
wait:                                              ; who wakes when the loop is over stays awake for the next one
  call i32 @pthread_cond_wait(ptr @offered, ptr @mutex)
  %s1 = load atomic i32, ptr @stopping seq_cst, align 4
  %stop1 = icmp ne i32 %s1, 0
  br label %up
up:
  %ends = phi i1 [ %stop, %sleep ], [ %stop1, %wait ]
  atomicrmw sub ptr @sleepers, i32 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br i1 %ends, label %end, label %idle
join:
  %now = load atomic i64, ptr @offer monotonic, align 8
  br label %try
try:
  %old = phi i64 [ %now, %join ], [ %seen, %swap ]
  %free = icmp ugt i64 %old, 65535
  br i1 %free, label %swap, label %idle
swap:
  %new = sub i64 %old, 65535
  %pair = cmpxchg ptr @offer, i64 %old, i64 %new acquire monotonic
  %seen = extractvalue { i64, i1 } %pair, 0
  %in = extractvalue { i64, i1 } %pair, 1
  br i1 %in, label %run, label %try
run:
  %mode = load i64, ptr @float_mode
  call void @set_float_mode(i64 %mode)
  call i64 @work(i64 %me, ptr %own)
  %before = atomicrmw sub ptr @offer, i64 1 seq_cst
  %last = icmp eq i64 %before, 1
  br i1 %last, label %tell, label %idle
tell:
  %w = load atomic i32, ptr @waiting seq_cst, align 4
  %somebody = icmp ne i32 %w, 0
  br i1 %somebody, label %signal, label %idle
signal:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_signal(ptr @left)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %idle
end:
  ret ptr null
}

; Have this many workers; how many there are, where the system refuses more. Signals stay with the host's own threads.
define internal i64 @hire(i64 %wanted) nounwind {
start:
  %all = alloca [128 x i8]
  %mine = alloca [128 x i8]
  %attributes = alloca [128 x i8], align 16
  call i32 @pthread_attr_init(ptr %attributes)
  call i32 @pthread_attr_setstacksize(ptr %attributes, i64 8388608)
  call void @llvm.memset.p0.i64(ptr %all, i8 -1, i64 128, i1 false)
  call i32 @pthread_sigmask(i32 2, ptr %all, ptr %mine)
  store i32 -1, ptr @avoided
  %before = load i64, ptr @workers
  %first = icmp eq i64 %before, 0
  br i1 %first, label %ask, label %next
ask:
  %myself = call i64 @pthread_self()
  %unknown = call i32 @pthread_getaffinity_np(i64 %myself, i64 128, ptr @allowed)
  %failed = icmp ne i32 %unknown, 0
  br i1 %failed, label %forget, label %next
forget:                                            ; more than 1024 processors
  call void @llvm.memset.p0.i64(ptr @allowed, i8 0, i64 128, i1 false)
  br label %next
next:
  %have = load i64, ptr @workers
  %short = icmp slt i64 %have, %wanted
  br i1 %short, label %make, label %end
make:
  %slot = getelementptr [4096 x i64], ptr @threads, i64 0, i64 %have
  %now = add i64 %have, 1
  %number = inttoptr i64 %now to ptr
  %error = call i32 @pthread_create(ptr %slot, ptr %attributes, ptr @worker, ptr %number)
  %made = icmp eq i32 %error, 0
  br i1 %made, label %count, label %end
count:
  store i64 %now, ptr @workers
  br label %next
end:
  call i32 @pthread_sigmask(i32 2, ptr %mine, ptr null)
  call i32 @pthread_attr_destroy(ptr %attributes)
  ret i64 %have
}

; Keep the workers off a processor, where they have others and are few.
define internal void @keep_off(i32 %processor) nounwind {
start:
  %mask = alloca [16 x i64], align 64
  store i32 %processor, ptr @avoided
  %workers = load i64, ptr @workers
  %few = icmp ult i64 %workers, 17
  %known = icmp ult i32 %processor, 1024
  %able = and i1 %few, %known
  br i1 %able, label %mark, label %end
mark:
  call void @llvm.memcpy.p0.p0.i64(ptr %mask, ptr @allowed, i64 128, i1 false)
  %wide = zext i32 %processor to i64
  %number = lshr i64 %wide, 6
  %place = and i64 %wide, 63
  %bit = shl i64 1, %place
  %others = xor i64 %bit, -1
  %word.at = getelementptr [16 x i64], ptr %mask, i64 0, i64 %number
  %word = load i64, ptr %word.at
  %without = and i64 %word, %others
  store i64 %without, ptr %word.at
  br label %any
any:
  %w = phi i64 [ 0, %mark ], [ %w1, %any ]
  %seen = phi i64 [ 0, %mark ], [ %seen.now, %any ]
  %each.at = getelementptr [16 x i64], ptr %mask, i64 0, i64 %w
  %each = load i64, ptr %each.at
  %seen.now = or i64 %seen, %each
  %w1 = add i64 %w, 1
  %all.words = icmp eq i64 %w1, 16
  br i1 %all.words, label %judge, label %any
judge:
  %none = icmp eq i64 %seen.now, 0
  br i1 %none, label %end, label %next
next:
  %k = phi i64 [ 0, %judge ], [ %k1, %set ]
  %more = icmp slt i64 %k, %workers
  br i1 %more, label %set, label %end
set:
  %slot = getelementptr [4096 x i64], ptr @threads, i64 0, i64 %k
  %thread = load i64, ptr %slot
  call i32 @pthread_setaffinity_np(i64 %thread, i64 128, ptr %mask)
  %k1 = add i64 %k, 1
  br label %next
end:
  ret void
}

define void @mlc_parallel_for(ptr %team, ptr %body, ptr %context, i64 %count, i64 %grain, i64 %cost) nounwind {
start:
  %threads.at = getelementptr %team, ptr %team, i64 0, i32 1
  %threads = load i64, ptr %threads.at
  %whole = sdiv i64 %count, %grain
  %most = call i64 @llvm.smin.i64(i64 %threads, i64 %whole)
  %wanted = sub i64 %most, 1
  %worth = icmp sgt i64 %wanted, 0
  br i1 %worth, label %enter, label %alone
enter:
  %claim = cmpxchg ptr @taken, i32 0, i32 1 acquire monotonic
  %ours = extractvalue { i32, i1 } %claim, 1
  br i1 %ours, label %rested, label %alone
rested:
  %until = load i64, ptr @rest_until
  %rests = icmp ne i64 %until, 0
  br i1 %rests, label %awake, label %staff
awake:
  %today = call i64 @now()
  %still = icmp slt i64 %today, %until
  br i1 %still, label %resting, label %rise
rise:
  store i64 0, ptr @rest_until
  br label %staff
staff:
  %work = mul i64 %count, %cost
  %little = icmp slt i64 %work, 600000             ; waking somebody takes about half of that
  br i1 %little, label %those.awake, label %everybody
those.awake:
  %employed = load i64, ptr @workers
  %lying = load atomic i32, ptr @sleepers monotonic, align 4
  %lying.wide = zext i32 %lying to i64
  %up = sub i64 %employed, %lying.wide
  %nobody = icmp slt i64 %up, 1
  br i1 %nobody, label %miss, label %help
help:
  %shared.old = load i64, ptr @shared
  %shared.new = add i64 %shared.old, %work
  store i64 %shared.new, ptr @shared
  br label %open
miss:
  %at.miss = call i64 @now()
  %last.miss = load atomic i64, ptr @missed_at monotonic, align 8
  %since = sub i64 %at.miss, %last.miss
  %long.ago = icmp sgt i64 %since, 40000           ; a worker woken then would have gone to sleep by now
  %another = icmp sgt i64 %since, 1000000          ; a new burst of calls: what was of use in the last one says little
  br i1 %another, label %forget, label %add
forget:
  store i64 200000, ptr @enough
  store i64 1200000, ptr @shared
  br label %add
add:
  %sum.old = load i64, ptr @missed
  %sum.kept = select i1 %long.ago, i64 0, i64 %sum.old
  %sum = add i64 %sum.kept, %work
  store i64 %sum, ptr @missed
  %enough = load i64, ptr @enough
  %still.little = icmp slt i64 %sum, %enough
  br i1 %still.little, label %missing, label %together
missing:
  store atomic i32 0, ptr @taken release, align 4
  call void %body(ptr %context, i64 0, i64 %count, ptr null)
  %end.miss = call i64 @now()
  store atomic i64 %end.miss, ptr @missed_at monotonic, align 8
  ret void
together:                                          ; was it worth it the last time?
  %paid.back = load i64, ptr @shared
  %paid = icmp sge i64 %paid.back, 1200000
  %twice = shl i64 %enough, 1
  %capped = call i64 @llvm.smin.i64(i64 %twice, i64 3200000)
  %from.now = select i1 %paid, i64 200000, i64 %capped
  store i64 %from.now, ptr @enough
  store i64 0, ptr @shared
  store i64 0, ptr @missed
  br label %everybody
everybody:
  %have = load i64, ptr @workers
  %short = icmp slt i64 %have, %wanted
  br i1 %short, label %employ, label %open
employ:
  %got = call i64 @hire(i64 %wanted)
  %none = icmp eq i64 %got, 0
  br i1 %none, label %refused, label %open
refused:
  %t = call i64 @now()
  %later = add i64 %t, 1000000000
  store i64 %later, ptr @rest_until
  br label %resting
resting:
  store atomic i32 0, ptr @taken release, align 4
  br label %alone
open:
  %available = phi i64 [ %up, %help ], [ %have, %everybody ], [ %got, %employ ]
  %worth.waking = phi i1 [ false, %help ], [ true, %everybody ], [ true, %employ ]
  %helpers = call i64 @llvm.smin.i64(i64 %available, i64 %wanted)
  %here = call i32 @sched_getcpu()
  %avoided = load i32, ptr @avoided
  %apart = icmp eq i32 %here, %avoided
  br i1 %apart, label %offer.it, label %part
part:
  call void @keep_off(i32 %here)
  br label %offer.it
offer.it:
  store ptr %body, ptr @body
  store ptr %context, ptr @context
  store i64 %count, ptr @count
  store i64 %grain, ptr @grain
  %upper = add i64 %count, %grain
  %upmost = sub i64 %upper, 1
  %grains = sdiv i64 %upmost, %grain
  store i64 %grains, ptr @grains
  %all.threads = add i64 %helpers, 1
  %parts = call i64 @llvm.smin.i64(i64 %all.threads, i64 64)
  store i64 %parts, ptr @parts
  %mode = call i64 @get_float_mode()
  store i64 %mode, ptr @float_mode
  br label %share
share:
  %p = phi i64 [ 0, %offer.it ], [ %p1, %share ]
  %begin = call i64 @begin_of(i64 %p)
  %slot = getelementptr [64 x [16 x i64]], ptr @next, i64 0, i64 %p
  store atomic i64 %begin, ptr %slot monotonic, align 8
  %p1 = add i64 %p, 1
  %shared = icmp eq i64 %p1, %parts
  br i1 %shared, label %publish, label %share
publish:
  %places = shl i64 %helpers, 16
  %t0 = call i64 @now()
  store atomic i64 %places, ptr @offer seq_cst, align 8
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %some.asleep = icmp ne i32 %asleep, 0
  %wake = and i1 %some.asleep, %worth.waking
  br i1 %wake, label %call, label %own
call:
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %ring
ring:
  %k = phi i64 [ %helpers, %call ], [ %k1, %ring ]
  call i32 @pthread_cond_signal(ptr @offered)
  %k1 = sub i64 %k, 1
  %rung = icmp eq i64 %k1, 0
  br i1 %rung, label %quiet, label %ring
quiet:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %own
own:
  %mine = call i64 @work(i64 0, ptr null)
  %before = atomicrmw and ptr @offer, i64 65535 seq_cst
  %joined = and i64 %before, 65535
  %all = icmp eq i64 %joined, 0
  br i1 %all, label %end, label %wait
wait:
  %t1 = call i64 @now()
  %soon = call i1 @spin(i1 true)
  br i1 %soon, label %judge, label %sleep
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  store atomic i32 1, ptr @waiting seq_cst, align 4
  br label %check
check:
  %o = load atomic i64, ptr @offer seq_cst, align 8
  %gone = icmp eq i64 %o, 0
  br i1 %gone, label %woken, label %doze
doze:
  call i32 @pthread_cond_wait(ptr @left, ptr @mutex)
  br label %check
woken:
  store atomic i32 0, ptr @waiting seq_cst, align 4
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %judge
judge:                                             ; waiting for about one iteration is in order, longer is a lost core
  %t2 = call i64 @now()
  %worked = sub i64 %t1, %t0
  %some = call i64 @llvm.smax.i64(i64 %mine, i64 1)
  %each = sdiv i64 %worked, %some
  %twoeach = shl i64 %each, 1
  %fair = add i64 %twoeach, 200000
  %waited = sub i64 %t2, %t1
  %lost = icmp sgt i64 %waited, %fair
  br i1 %lost, label %pause, label %end
pause:
  %long = mul i64 %waited, 10
  %resume = add i64 %t2, %long
  store i64 %resume, ptr @rest_until
  br label %end
end:
  fence acquire
  store atomic i32 0, ptr @taken release, align 4
  ret void
alone:
  call void %body(ptr %context, i64 0, i64 %count, ptr null)
  ret void
}

define void @mlc_run_alone(ptr %team, ptr %body, ptr %context, i64 %count, i64 %grain, i64 %cost) nounwind {
  call void %body(ptr %context, i64 0, i64 %count, ptr null)
  ret void
}

define void @mlc_run_backwards(ptr %team, ptr %body, ptr %context, i64 %count, i64 %grain, i64 %cost) nounwind {
start:
  %upper = add i64 %count, %grain
  %upmost = sub i64 %upper, 1
  %grains = sdiv i64 %upmost, %grain
  br label %look
look:
  %left = phi i64 [ %grains, %start ], [ %piece, %run ]
  %any = icmp sgt i64 %left, 0
  br i1 %any, label %run, label %end
run:
  %piece = sub i64 %left, 1
  %from = mul i64 %piece, %grain
  %up = mul i64 %left, %grain
  %to = call i64 @llvm.smin.i64(i64 %up, i64 %count)
  call void %body(ptr %context, i64 %from, i64 %to, ptr null)
  br label %look
end:
  ret void
}

define void @mlc_pool_stop() nounwind {
start:
  br label %claim
claim:
  %claimed = cmpxchg ptr @taken, i32 0, i32 1 acquire monotonic
  %ours = extractvalue { i32, i1 } %claimed, 1
  br i1 %ours, label %stop, label %wait
wait:
  call i32 @sched_yield()
  br label %claim
stop:
  store atomic i32 1, ptr @stopping seq_cst, align 4
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @offered)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  %n = load i64, ptr @workers
  br label %next
next:
  %k = phi i64 [ 0, %stop ], [ %k1, %join ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %join, label %end
join:
  %at = getelementptr [4096 x i64], ptr @threads, i64 0, i64 %k
  %thread = load i64, ptr %at
  call i32 @pthread_join(i64 %thread, ptr null)
  %k1 = add i64 %k, 1
  br label %next
end:
  store i64 0, ptr @workers
  ret void
}

define void @mlc_pool_reset() nounwind {
  store i32 -1, ptr @avoided
  store i64 0, ptr @offer
  store i64 0, ptr @workers
  store i64 0, ptr @rest_until
  store i32 0, ptr @sleepers
  store i32 0, ptr @waiting
  store i32 0, ptr @stopping
  call void @llvm.memset.p0.i64(ptr align 64 @mutex, i8 0, i64 64, i1 false)
  call void @llvm.memset.p0.i64(ptr align 64 @offered, i8 0, i64 64, i1 false)
  call void @llvm.memset.p0.i64(ptr align 64 @left, i8 0, i64 64, i1 false)
  store atomic i32 0, ptr @taken release, align 4
  ret void
}
