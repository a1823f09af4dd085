// Command clients runs the public Go client of the API against a running cluster, one scenario after the other.
//
// Arguments are the members' endpoints. Every scenario prints one line that begins with "ok"; the first failure
// prints one that begins with "FAIL" and ends the program with code 1.
//
// What only the owner of the processes can do is asked for on standard output ("? kill HOST:PORT") and answered on
// standard input with one line once it is done.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// patience bounds every scenario.
const patience = 60 * time.Second

// world is what a scenario may use.
type world struct {
	ctx       context.Context
	endpoints []string
	client    *clientv3.Client
	owner     *bufio.Scanner
}

var scenarios = []struct {
	name string
	run  func(*world) error
}{
	{"kv", keys},
	{"kv options", options},
	{"kv errors", failures},
	{"txn", transactions},
	{"watch", watches},
	{"watch from a compacted revision", compactedWatch},
	{"watch resumes when its member is killed", watchResumes},
	{"lease keep-alive", keepAlive},
	{"lease expiry", expiry},
	{"mutex", mutualExclusion},
	{"mutex passes on when its holder is gone", orphanedMutex},
	{"election", election},
	{"maintenance", maintenance},
}

func main() {
	endpoints := os.Args[1:]
	client, err := connect(endpoints)
	if err != nil {
		fmt.Printf("FAIL connect: %v\n", err)
		os.Exit(1)
	}
	defer client.Close()
	owner := bufio.NewScanner(os.Stdin)
	for _, scenario := range scenarios {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		start := time.Now()
		err := scenario.run(&world{ctx, endpoints, client, owner})
		cancel()
		if err != nil {
			fmt.Printf("FAIL %s: %v\n", scenario.name, err)
			os.Exit(1)
		}
		fmt.Printf("ok %s (%v)\n", scenario.name, time.Since(start).Round(time.Millisecond))
	}
}

func connect(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second})
}

// ask has the owner of the processes do something to a member, and waits until it is done.
func (w *world) ask(what, endpoint string) error {
	fmt.Printf("? %s %s\n", what, endpoint)
	if !w.owner.Scan() {
		return fmt.Errorf("nobody answers to %q", what)
	}
	if answer := w.owner.Text(); answer != "done" {
		return fmt.Errorf("%s %s: %s", what, endpoint, answer)
	}
	return nil
}

// expect is an error unless both sides print alike.
func expect(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

// first is the first of several errors.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
