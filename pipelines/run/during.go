package run

import (
	"sync"
	"time"

	"github.com/adaptflow/adaptflow/internal/progress"
)

// Stage is how far a stage of a run is.
type Stage struct {
	Name string // "preparing train", "scoring the base model"
	// Counts are what workers in this process have done, by what it is: see package progress. Of workers elsewhere there are none.
	Counts map[string]int64
	Taken  time.Duration
	Ended  bool
}

// stageEvery is how often a stage is reported.
const stageEvery = 500 * time.Millisecond

// during tells who watches the run how far a stage is, until end is called.
func (r *Run) during(name string) (end func()) {
	if r.Stage == nil {
		return func() {}
	}
	begun, before := time.Now(), progress.Counts()
	look := func(ended bool) { r.Stage(Stage{name, progress.Since(before), time.Since(begun), ended}) }
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		tick := time.NewTicker(stageEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				look(false)
			}
		}
	}()
	return func() { close(stop); done.Wait(); look(true) }
}
