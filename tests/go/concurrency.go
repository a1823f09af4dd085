package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// mutualExclusion has two sessions take one lock in turn; inside it nobody may see anybody else.
func mutualExclusion(w *world) error {
	const each = 15
	var inside, entries atomic.Int32
	done := make(chan error, 2)
	for n := range 2 {
		go func() { done <- lockOften(w, fmt.Sprintf("session %d", n), each, &inside, &entries) }()
	}
	if err := first(<-done, <-done); err != nil {
		return err
	}
	held, err := w.client.Get(w.ctx, "mutex/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	return first(expect("entries", entries.Load(), 2*each), expect("keys left", held.Count, 0))
}

func lockOften(w *world, name string, times int, inside, entries *atomic.Int32) error {
	client, err := connect(w.endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer session.Close()
	mutex := concurrency.NewMutex(session, "mutex")
	for range times {
		if err := mutex.Lock(w.ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if others := inside.Add(1) - 1; others != 0 {
			return fmt.Errorf("%s is not alone in the lock", name)
		}
		// The lock's owner writes with the lock as its condition, as users of it should.
		guarded, err := client.Txn(w.ctx).If(mutex.IsOwner()).Then(clientv3.OpPut("guarded", name)).Commit()
		if err != nil {
			return err
		}
		if !guarded.Succeeded {
			return fmt.Errorf("%s holds the lock and does not own it", name)
		}
		entries.Add(1)
		inside.Add(-1)
		if err := mutex.Unlock(w.ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// orphanedMutex lets the holder's lease end: the next in line gets the lock, and a third finds it taken.
func orphanedMutex(w *world) error {
	const ttl = 2
	holder, err := concurrency.NewSession(w.client, concurrency.WithTTL(ttl))
	if err != nil {
		return err
	}
	next, err := concurrency.NewSession(w.client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer next.Close()
	if err := concurrency.NewMutex(holder, "orphan").Lock(w.ctx); err != nil {
		return err
	}
	mutex := concurrency.NewMutex(next, "orphan")
	if err := mutex.TryLock(w.ctx); !errors.Is(err, concurrency.ErrLocked) {
		return fmt.Errorf("a taken lock: got %v, want %v", err, concurrency.ErrLocked)
	}
	// Orphan ends the renewals and leaves the lease to its time, which lasts from the last renewal on: this one, at least.
	renewed := time.Now()
	if _, err := w.client.KeepAliveOnce(w.ctx, holder.Lease()); err != nil {
		return err
	}
	holder.Orphan()
	if err := mutex.Lock(w.ctx); err != nil {
		return err
	}
	if lived := time.Since(renewed); lived < ttl*time.Second || lived > 15*time.Second {
		return fmt.Errorf("the lock of a holder with %d s to live passed on after %v", ttl, lived)
	}
	return mutex.Unlock(w.ctx)
}

// election has two candidates; the second leads once the first resigns, and an observer sees every proclamation.
func election(w *world) error {
	var sessions [2]*concurrency.Session
	var elections [2]*concurrency.Election
	for n := range sessions {
		session, err := concurrency.NewSession(w.client, concurrency.WithTTL(10))
		if err != nil {
			return err
		}
		defer session.Close()
		sessions[n], elections[n] = session, concurrency.NewElection(session, "election")
	}
	if _, err := elections[0].Leader(w.ctx); !errors.Is(err, concurrency.ErrElectionNoLeader) {
		return fmt.Errorf("nobody leads: got %v", err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	observed := elections[1].Observe(ctx)
	sees := func(want string) error {
		for {
			select {
			case <-w.ctx.Done():
				return fmt.Errorf("waiting to observe %q: %w", want, w.ctx.Err())
			case response, open := <-observed:
				if !open {
					return fmt.Errorf("the observation ended before %q", want)
				}
				if got := string(response.Kvs[0].Value); got == want {
					return nil
				}
			}
		}
	}
	if err := first(elections[0].Campaign(w.ctx, "one"), sees("one")); err != nil {
		return err
	}
	won := make(chan error, 1)
	go func() { won <- elections[1].Campaign(w.ctx, "two") }()
	if err := first(elections[0].Proclaim(w.ctx, "one again"), sees("one again")); err != nil {
		return err
	}
	leader, err := elections[1].Leader(w.ctx)
	if err != nil {
		return err
	}
	select {
	case err := <-won:
		return fmt.Errorf("two leaders (%v)", err)
	default:
	}
	if err := first(
		expect("leader", string(leader.Kvs[0].Value), "one again"),
		elections[0].Resign(w.ctx),
		<-won,
		sees("two"),
	); err != nil {
		return err
	}
	if err := elections[0].Proclaim(w.ctx, "too late"); !errors.Is(err, concurrency.ErrElectionNotLeader) {
		return fmt.Errorf("proclaiming after resigning: got %v", err)
	}
	return elections[1].Resign(w.ctx)
}
