// Package progress counts what the work in this process has done, for people who wait for it. A DoFn is rebuilt from its payload and runs
// where its runner wants, so that the counts are the process's: a driver whose workers are elsewhere sees none.
package progress

import (
	"maps"
	"sync"
)

// What is counted.
const (
	Read      = "records read"
	Tokens    = "tokens"
	Sequences = "sequences packed"
	Scored    = "tokens scored"
	Sampled   = "answers sampled"
)

var counts = struct {
	sync.Mutex
	by map[string]int64
}{by: map[string]int64{}}

// Add counts n more.
func Add(what string, n int64) {
	counts.Lock()
	defer counts.Unlock()
	counts.by[what] += n
}

// Counts are what has been counted since the process began.
func Counts() map[string]int64 {
	counts.Lock()
	defer counts.Unlock()
	return maps.Clone(counts.by)
}

// Since are the counts that have grown beyond earlier ones, by how much.
func Since(before map[string]int64) map[string]int64 {
	now := Counts()
	for k, n := range now {
		if now[k] = n - before[k]; now[k] == 0 {
			delete(now, k)
		}
	}
	return now
}
