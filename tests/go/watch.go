package main

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// take reads so many events from a watch, whole responses at a time.
func take(ctx context.Context, watch clientv3.WatchChan, count int) ([]*clientv3.Event, error) {
	var events []*clientv3.Event
	for len(events) < count {
		select {
		case <-ctx.Done():
			return events, fmt.Errorf("%d of %d events: %w", len(events), count, ctx.Err())
		case response, open := <-watch:
			if !open {
				return events, fmt.Errorf("the watch ended after %d of %d events", len(events), count)
			}
			if err := response.Err(); err != nil {
				return events, err
			}
			events = append(events, response.Events...)
		}
	}
	return events, nil
}

// watches follows a prefix from a past revision on, with previous pairs, filters, and progress.
func watches(w *world) error {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	put, err := w.client.Put(w.ctx, "watch/a", "1")
	if err != nil {
		return err
	}
	all := w.client.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision), clientv3.WithPrevKV())
	deletes := w.client.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision), clientv3.WithFilterPut())
	if _, err := w.client.Put(w.ctx, "watch/a", "2"); err != nil {
		return err
	}
	if _, err := w.client.Put(w.ctx, "elsewhere", "x"); err != nil {
		return err
	}
	_, err = w.client.Txn(w.ctx).Then(clientv3.OpPut("watch/b", "3"), clientv3.OpDelete("watch/a")).Commit()
	if err != nil {
		return err
	}
	events, err := take(w.ctx, all, 4)
	if err != nil {
		return err
	}
	gone, err := take(w.ctx, deletes, 1)
	if err != nil {
		return err
	}
	shown := ""
	for _, event := range events {
		shown += fmt.Sprintf("%s %s=%s", event.Type, event.Kv.Key, event.Kv.Value)
		if event.PrevKv != nil {
			shown += fmt.Sprintf(" was %s", event.PrevKv.Value)
		}
		shown += "; "
	}
	want := "PUT watch/a=1; PUT watch/a=2 was 1; PUT watch/b=3; DELETE watch/a= was 2; "
	progress := w.client.Watch(clientv3.WithRequireLeader(ctx), "nothing/here")
	if err := w.client.RequestProgress(clientv3.WithRequireLeader(ctx)); err != nil {
		return err
	}
	select {
	case <-w.ctx.Done():
		return fmt.Errorf("progress: %w", w.ctx.Err())
	case response := <-progress:
		if !response.IsProgressNotify() || response.Header.Revision < events[3].Kv.ModRevision {
			return fmt.Errorf("progress: got %+v", response)
		}
	}
	return first(
		expect("events", shown, want),
		expect("one revision", events[2].Kv.ModRevision, events[3].Kv.ModRevision),
		expect("type of what is not filtered", gone[0].Type, clientv3.EventTypeDelete),
	)
}

// compactedWatch asks for revisions that are gone, of the member that has said so: another one may not know it yet.
func compactedWatch(w *world) error {
	lone, err := connect(w.endpoints[:1])
	if err != nil {
		return err
	}
	defer lone.Close()
	put, err := lone.Put(w.ctx, "old/a", "1")
	if err != nil {
		return err
	}
	now := put.Header.Revision
	if _, err := lone.Put(w.ctx, "old/a", "2"); err != nil {
		return err
	}
	if _, err := lone.Compact(w.ctx, now+1); err != nil {
		return err
	}
	_, err = take(w.ctx, lone.Watch(w.ctx, "old/a", clientv3.WithRev(now)), 1)
	if !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("got %v, want %v", err, rpctypes.ErrCompacted)
	}
	return nil
}

// watchResumes kills the member that serves a watch, twice, while another client writes: every write arrives once,
// in order.
func watchResumes(w *world) error {
	// One endpoint first, so that it is known who serves the watch; the others follow for when it is gone.
	victim := w.endpoints[0]
	watcher, err := connect([]string{victim})
	if err != nil {
		return err
	}
	defer watcher.Close()
	watch := watcher.Watch(w.ctx, "resume/", clientv3.WithPrefix())
	writer, err := connect(w.endpoints[1:])
	if err != nil {
		return err
	}
	defer writer.Close()
	const each = 20
	written, seen := 0, 0
	write := func() error {
		for range each {
			// A write that is refused or lost with a connection is tried again, so values may come twice, but
			// then with a revision of their own.
			if _, err := writer.Put(w.ctx, "resume/a", fmt.Sprint(written)); err != nil {
				return err
			}
			written++
		}
		return nil
	}
	last := int64(0)
	check := func() error {
		for seen < written {
			events, err := take(w.ctx, watch, 1)
			if err != nil {
				return err
			}
			for _, event := range events {
				if event.Kv.ModRevision <= last {
					return fmt.Errorf("revision %d came after %d", event.Kv.ModRevision, last)
				}
				last = event.Kv.ModRevision
				if string(event.Kv.Value) != fmt.Sprint(seen) {
					return fmt.Errorf("got value %s, want %d", event.Kv.Value, seen)
				}
				seen++
			}
		}
		return nil
	}
	// Created before anything is killed: "from now on" is only fixed once the server has said so.
	if err := first(write(), check()); err != nil {
		return err
	}
	for round := range 2 {
		if err := w.ask("kill", victim); err != nil {
			return err
		}
		// The leader may have gone with it: writes wait for the next one.
		if err := write(); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round == 0 {
			// The same member comes back: the watch resumes there.
			if err := w.ask("restart", victim); err != nil {
				return err
			}
		} else {
			// Another member takes over.
			watcher.SetEndpoints(w.endpoints[1:]...)
		}
		if err := first(write(), check()); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return first(w.ask("restart", victim), expect("events", seen, 5*each))
}
