package main

import "fmt"

// maintenance asks every member about itself: one cluster, one leader, one hash.
func maintenance(w *world) error {
	members, err := w.client.MemberList(w.ctx)
	if err != nil {
		return err
	}
	now, err := w.client.Put(w.ctx, "maintenance", "x")
	if err != nil {
		return err
	}
	leaders, hashes := map[uint64]bool{}, map[uint32]bool{}
	for _, endpoint := range w.endpoints {
		status, err := w.client.Status(w.ctx, endpoint)
		if err != nil {
			return err
		}
		if status.Version == "" || status.DbSize <= 0 {
			return fmt.Errorf("%s says little of itself: %v", endpoint, status)
		}
		if status.Leader == 0 {
			return fmt.Errorf("%s knows no leader: %v", endpoint, status)
		}
		leaders[status.Leader] = true
		// A read that needs the leader brings the member up to the write before.
		lone, err := connect([]string{endpoint})
		if err != nil {
			return err
		}
		_, err = lone.Get(w.ctx, "maintenance")
		lone.Close()
		if err != nil {
			return err
		}
		hash, err := w.client.HashKV(w.ctx, endpoint, now.Header.Revision)
		if err != nil {
			return err
		}
		hashes[hash.Hash] = true
	}
	return first(
		expect("members", len(members.Members), len(w.endpoints)),
		expect("leaders", len(leaders), 1),
		expect("hashes", len(hashes), 1),
	)
}
