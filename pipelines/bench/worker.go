package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/usage"
	"github.com/adaptflow/adaptflow/train"
)

// scalingCall is what the measurement asks of a worker: one line of JSON on its standard input. The first names the job.
type scalingCall struct {
	Op      string      `json:"op"` // hello, load, open, replica, combine, checkpoint, advance
	Job     string      `json:"job,omitempty"`
	Step    int         `json:"step,omitempty"`
	To      int         `json:"to,omitempty"`
	Replica int         `json:"replica,omitempty"`
	Refs    []train.Ref `json:"refs,omitempty"`
}

// scalingReply is the answer, with what the process has used since it started. Its own lines are not counted.
type scalingReply struct {
	Ref     train.Ref `json:"ref"`
	Step    int       `json:"step"`
	CPU     float64   `json:"cpu"` // seconds
	Read    int64     `json:"read"`
	Written int64     `json:"written"`
	Peak    int64     `json:"peak"`
	Error   string    `json:"error,omitempty"`
}

// scalingWorker runs what the DoFns of a round run, on the calls that it reads, until there are no more: the program as a worker of
// [Scaling].
func scalingWorker(_ json.RawMessage, lines *bufio.Reader, out io.Writer) error {
	mem.Heap(mem.Own(context.Background()), 50, 0) // as a runner's worker
	var job string
	read, written := int64(0), int64(0)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			train.CloseSessions()
			return nil
		}
		if err != nil {
			return err
		}
		read += int64(len(line))
		var c scalingCall
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("a call of the measurement: %w", err)
		}
		if c.Job != "" {
			job = c.Job
		}
		r := scalingReply{Step: c.Step}
		if err := c.do(job, &r); err != nil {
			r.Error = err.Error()
		}
		r.CPU = usage.CPU().Seconds()
		if r.Peak, err = mem.Peak(); err != nil {
			return err
		}
		if r.Read, r.Written, err = usage.IO(); err == nil {
			r.Read, r.Written = r.Read-read, r.Written-written
		}
		raw, err := json.Marshal(&r)
		if err != nil {
			return err
		}
		n, err := out.Write(append(raw, '\n'))
		if err != nil {
			return err
		}
		written += int64(n)
	}
}

func (c *scalingCall) do(job string, r *scalingReply) error {
	if c.Op == "hello" {
		return nil
	}
	if c.Op == "load" {
		var j train.Job
		if err := json.Unmarshal([]byte(job), &j); err != nil {
			return err
		}
		base, err := train.Hold(j.Model, j.DType, j.Task) // for the sessions that follow, until the process ends
		if err != nil {
			return err
		}
		_, err = base.Model.Hash()
		return err
	}
	return train.Use(job, func(s *train.Session) (err error) {
		switch c.Op {
		case "open":
		case "replica":
			r.Ref, err = s.Replica(c.Step, c.Replica)
		case "combine":
			r.Step, err = s.Combine(c.Step, c.Refs)
		case "checkpoint":
			err = s.Checkpoint(c.Step)
		case "advance":
			r.Step, err = s.Advance(c.Step, c.To)
		default:
			err = fmt.Errorf("unknown call %q", c.Op)
		}
		return err
	})
}

// scalingProcess is a worker's process as the measurement sees it.
type scalingProcess struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr strings.Builder
	hello  float64      // CPU seconds when it was up
	loaded float64      // and when the base was loaded
	first  scalingReply // when its session was open
	last   scalingReply
}

// startWorker starts the program as a worker of so many threads, and opens the job's session in it.
func (program Program) startWorker(ctx context.Context, job string, threads int) (*scalingProcess, error) {
	cmd, err := program.command(ctx, fmt.Sprintf("GOMAXPROCS=%d", threads))
	if err != nil {
		return nil, err
	}
	p := &scalingProcess{cmd: cmd}
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(p.in).Encode(task{Name: "scaling worker"}); err != nil {
		p.end() //nolint:errcheck // the error that counts is another
		return nil, p.lost(err)
	}
	for _, op := range []string{"hello", "load", "open"} {
		if p.first, err = p.call(scalingCall{Op: op, Job: job}); err != nil {
			break
		}
		switch op {
		case "hello":
			p.hello = p.first.CPU
		case "load":
			p.loaded = p.first.CPU
		}
	}
	if err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

func (p *scalingProcess) call(c scalingCall) (scalingReply, error) {
	var r scalingReply
	raw, err := json.Marshal(&c)
	if err != nil {
		return r, err
	}
	if _, err := p.in.Write(append(raw, '\n')); err != nil {
		return r, p.lost(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return r, p.lost(err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, p.lost(err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	p.last = r
	return r, nil
}

func (p *scalingProcess) lost(err error) error {
	return fmt.Errorf("a worker's process was lost: %w: %s", err, strings.TrimSpace(p.stderr.String()))
}

// end ends the process and returns the CPU time that it took in all, in seconds.
func (p *scalingProcess) end() (float64, error) {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return 0, p.lost(err)
	}
	return (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds(), nil
}
