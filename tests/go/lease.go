package main

import (
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// keepAlive renews a lease for longer than it would live, and revokes it.
func keepAlive(w *world) error {
	const ttl = 2
	lease, err := w.client.Grant(w.ctx, ttl)
	if err != nil {
		return err
	}
	if _, err := w.client.Put(w.ctx, "lease/kept", "x", clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	renewals, err := w.client.KeepAlive(w.ctx, lease.ID)
	if err != nil {
		return err
	}
	for start := time.Now(); time.Since(start) < 2*ttl*time.Second; {
		select {
		case <-w.ctx.Done():
			return w.ctx.Err()
		case renewal, open := <-renewals:
			if !open || renewal.TTL < ttl {
				return fmt.Errorf("the lease was not kept: %v", renewal)
			}
		}
	}
	kept, err := w.client.Get(w.ctx, "lease/kept")
	if err != nil {
		return err
	}
	left, err := w.client.TimeToLive(w.ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	once, err := w.client.KeepAliveOnce(w.ctx, lease.ID)
	if err != nil {
		return err
	}
	all, err := w.client.Leases(w.ctx)
	if err != nil {
		return err
	}
	listed := false
	for _, other := range all.Leases {
		listed = listed || other.ID == lease.ID
	}
	if _, err := w.client.Revoke(w.ctx, lease.ID); err != nil {
		return err
	}
	gone, err := w.client.Get(w.ctx, "lease/kept")
	if err != nil {
		return err
	}
	after, err := w.client.TimeToLive(w.ctx, lease.ID)
	if err != nil {
		return err
	}
	return first(
		expect("key of a kept lease", kept.Count, 1),
		expect("its lease", clientv3.LeaseID(kept.Kvs[0].Lease), lease.ID),
		expect("keys", fmt.Sprintf("%s", left.Keys), "[lease/kept]"),
		expect("granted", left.GrantedTTL, lease.TTL),
		expect("renewed", once.TTL, lease.TTL),
		expect("listed", listed, true),
		expect("key of a revoked lease", gone.Count, 0),
		expect("time to live of a revoked lease", after.TTL, -1),
	)
}

// expiry lets a lease end: all its keys go at one revision, not before their time, and not long after it.
func expiry(w *world) error {
	lease, err := w.client.Grant(w.ctx, 2)
	if err != nil {
		return err
	}
	for _, key := range []string{"expiry/a", "expiry/b"} {
		if _, err := w.client.Put(w.ctx, key, "x", clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
	}
	renewed := time.Now()
	if _, err := w.client.KeepAliveOnce(w.ctx, lease.ID); err != nil {
		return err
	}
	watch := w.client.Watch(w.ctx, "expiry/", clientv3.WithPrefix(), clientv3.WithFilterPut())
	events, err := take(w.ctx, watch, 2)
	if err != nil {
		return err
	}
	lived := time.Since(renewed)
	if least := time.Duration(lease.TTL) * time.Second; lived < least || lived > least+10*time.Second {
		return fmt.Errorf("a lease of %d s lived %v", lease.TTL, lived)
	}
	return expect("one revision", events[0].Kv.ModRevision, events[1].Kv.ModRevision)
}
