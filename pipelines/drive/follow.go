package drive

import (
	"sync"
	"time"

	"github.com/adaptflow/adaptflow/train"
)

// followEvery is how often the driver looks for a new checkpoint of workers in other processes.
const followEvery = 500 * time.Millisecond

// follow tells those who watch the run the steps after from that workers in other processes make, as their checkpoints show them, until
// what it returns is called.
func follow(job train.Job, dir string, from, total int) (stop func()) {
	told, evals := from, from
	look := func() {
		step, err := Latest(job)
		if err != nil || step <= told {
			return // what is wrong with the folder the driver finds when the job has ended
		}
		st, err := job.StateOf(step)
		if err != nil {
			return // it may have been pruned since
		}
		for i := range st.History {
			if h := &st.History[i]; h.Step > told {
				told = h.Step
				train.Tell(dir, train.Progress{Total: total, Step: h})
			}
		}
		for i := range st.Evals {
			if e := &st.Evals[i]; e.Step > evals {
				evals = e.Step
				train.Tell(dir, train.Progress{Total: total, Eval: e})
			}
		}
	}
	every := followEvery
	if job.Location != "" { // a look is a request
		every *= 4
	}
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		defer done.Done()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				look()
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return func() { close(end); done.Wait() }
}
