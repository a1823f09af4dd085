package main

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keys writes, reads and deletes one key, and follows its revisions.
func keys(w *world) error {
	put, err := w.client.Put(w.ctx, "kv/a", "1")
	if err != nil {
		return err
	}
	again, err := w.client.Put(w.ctx, "kv/a", "2", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	got, err := w.client.Get(w.ctx, "kv/a")
	if err != nil {
		return err
	}
	if len(got.Kvs) != 1 {
		return fmt.Errorf("got %d pairs", len(got.Kvs))
	}
	pair := got.Kvs[0]
	old, err := w.client.Get(w.ctx, "kv/a", clientv3.WithRev(put.Header.Revision))
	if err != nil {
		return err
	}
	gone, err := w.client.Delete(w.ctx, "kv/a", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	none, err := w.client.Get(w.ctx, "kv/a")
	if err != nil {
		return err
	}
	return first(
		expect("revision of the second put", again.Header.Revision, put.Header.Revision+1),
		expect("previous value", string(again.PrevKv.Value), "1"),
		expect("value", string(pair.Value), "2"),
		expect("version", pair.Version, 2),
		expect("create revision", pair.CreateRevision, put.Header.Revision),
		expect("mod revision", pair.ModRevision, again.Header.Revision),
		expect("value in the past", string(old.Kvs[0].Value), "1"),
		expect("deleted", gone.Deleted, 1),
		expect("deleted value", string(gone.PrevKvs[0].Value), "2"),
		expect("count after the delete", none.Count, 0),
	)
}

// options reads a range in every way.
func options(w *world) error {
	for i := range 10 {
		// Values fall while keys rise.
		if _, err := w.client.Put(w.ctx, fmt.Sprintf("opt/%d", i), fmt.Sprint(9-i)); err != nil {
			return err
		}
	}
	read := func(client *clientv3.Client, key string, options ...clientv3.OpOption) (string, error) {
		got, err := client.Get(w.ctx, key, options...)
		if err != nil {
			return "", err
		}
		shown := ""
		for _, pair := range got.Kvs {
			shown += fmt.Sprintf("%s=%s ", pair.Key[len("opt/"):], pair.Value)
		}
		return fmt.Sprintf("%s%d %t", shown, got.Count, got.More), nil
	}
	for _, step := range []struct {
		name    string
		key     string
		options []clientv3.OpOption
		want    string
	}{
		{"limit", "opt/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithLimit(2)}, "0=9 1=8 10 true"},
		{"range", "opt/3", []clientv3.OpOption{clientv3.WithRange("opt/5")}, "3=6 4=5 2 false"},
		{"descending keys", "opt/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithLimit(2),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)}, "9=0 8=1 10 true"},
		{"ascending values", "opt/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithLimit(2),
			clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)}, "9=0 8=1 10 true"},
		{"last revision", "opt/", clientv3.WithLastRev(), "9=0 10 true"},
		{"count only", "opt/", []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithCountOnly()}, "10 false"},
		{"keys only", "opt/8", []clientv3.OpOption{clientv3.WithRange("opt/:"), clientv3.WithKeysOnly()}, "8= 9= 2 false"},
	} {
		got, err := read(w.client, step.key, step.options...)
		if err == nil {
			err = expect(step.name, got, step.want)
		}
		if err != nil {
			return err
		}
	}
	// A member that answers from what it has may lag: a read that needs the leader brings it up to date first.
	for _, endpoint := range w.endpoints {
		lone, err := connect([]string{endpoint})
		if err != nil {
			return err
		}
		got, err := read(lone, "opt/7")
		if err == nil {
			got, err = read(lone, "opt/7", clientv3.WithRange("opt/8"), clientv3.WithSerializable())
		}
		lone.Close()
		if err == nil {
			err = expect("serializable", got, "7=2 1 false")
		}
		if err != nil {
			return err
		}
	}
	gone, err := w.client.Delete(w.ctx, "opt/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	return expect("deleted", gone.Deleted, 10)
}

// failures checks that the client knows the errors as its own constants.
func failures(w *world) error {
	put, err := w.client.Put(w.ctx, "err/a", "1")
	if err != nil {
		return err
	}
	now := put.Header.Revision
	if _, err := w.client.Put(w.ctx, "err/a", "2"); err != nil {
		return err
	}
	_, empty := w.client.Put(w.ctx, "", "x")
	_, future := w.client.Get(w.ctx, "err/a", clientv3.WithRev(now+1_000_000))
	_, lease := w.client.Put(w.ctx, "err/a", "x", clientv3.WithLease(4711))
	_, absent := w.client.Put(w.ctx, "err/none", "", clientv3.WithIgnoreValue())
	_, twice := w.client.Txn(w.ctx).Then(clientv3.OpPut("err/a", "1"), clientv3.OpPut("err/a", "2")).Commit()
	if _, err := w.client.Compact(w.ctx, now+1); err != nil {
		return err
	}
	_, compacted := w.client.Get(w.ctx, "err/a", clientv3.WithRev(now))
	_, revoke := w.client.Revoke(w.ctx, 4711)
	for _, step := range []struct {
		name      string
		got, want error
	}{
		{"empty key", empty, rpctypes.ErrEmptyKey},
		{"future revision", future, rpctypes.ErrFutureRev},
		{"unknown lease", lease, rpctypes.ErrLeaseNotFound},
		{"ignored value of no key", absent, rpctypes.ErrKeyNotFound},
		{"duplicate key", twice, rpctypes.ErrDuplicateKey},
		{"compacted revision", compacted, rpctypes.ErrCompacted},
		{"revoke of an unknown lease", revoke, rpctypes.ErrLeaseNotFound},
	} {
		if !errors.Is(step.got, step.want) {
			return fmt.Errorf("%s: got %v, want %v", step.name, step.got, step.want)
		}
	}
	return nil
}

// transactions takes both branches, nests, and counts with two clients that compare and swap.
func transactions(w *world) error {
	create := clientv3.Compare(clientv3.CreateRevision("txn/a"), "=", 0)
	won, err := w.client.Txn(w.ctx).If(create).Then(clientv3.OpPut("txn/a", "first")).Commit()
	if err != nil {
		return err
	}
	lost, err := w.client.Txn(w.ctx).If(create).Then(clientv3.OpPut("txn/a", "second")).Else(
		clientv3.OpGet("txn/a"),
		clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.Value("txn/a"), "=", "first")},
			[]clientv3.Op{clientv3.OpPut("txn/b", "nested"), clientv3.OpGet("txn/b")},
			nil,
		),
	).Commit()
	if err != nil {
		return err
	}
	nested := lost.Responses[1].GetResponseTxn()
	err = first(
		expect("first", won.Succeeded, true),
		expect("second", lost.Succeeded, false),
		expect("read in the other branch", string(lost.Responses[0].GetResponseRange().Kvs[0].Value), "first"),
		expect("nested branch", nested.Succeeded, true),
		expect("read of an own write", string(nested.Responses[1].GetResponseRange().Kvs[0].Value), "nested"),
	)
	if err != nil {
		return err
	}
	const each = 25
	done := make(chan error, 2)
	for range 2 {
		go func() {
			for range each {
				if err := increment(w.ctx, w.client, "txn/count"); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	if err := first(<-done, <-done); err != nil {
		return err
	}
	got, err := w.client.Get(w.ctx, "txn/count")
	if err != nil {
		return err
	}
	return first(
		expect("count", len(got.Kvs[0].Value), 2*each),
		expect("version", got.Kvs[0].Version, 2*each),
	)
}

// increment makes a value one byte longer, by compare and swap.
func increment(ctx context.Context, client *clientv3.Client, key string) error {
	for {
		got, err := client.Get(ctx, key)
		if err != nil {
			return err
		}
		value, revision := "", int64(0)
		if len(got.Kvs) == 1 {
			value, revision = string(got.Kvs[0].Value), got.Kvs[0].ModRevision
		}
		swap, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, value+"x")).
			Commit()
		if err != nil {
			return err
		}
		if swap.Succeeded {
			return nil
		}
	}
}
