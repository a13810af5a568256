package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

// Program makes the command of a process in which the program calls [Child] with its standard input and output. A measurement of memory has
// a process of its own, so that the peak is its own. What the command line is only the caller knows; env are variables beside what a child
// has, as NAME=VALUE.
type Program func(ctx context.Context, env ...string) (*exec.Cmd, error)

// Started is the program at a path, started with these arguments and, as every child, without the secrets of this process's environment.
func Started(path string, args ...string) Program {
	return func(ctx context.Context, env ...string) (*exec.Cmd, error) {
		return childenv.Set{More: env}.Command(ctx, path, args...), nil
	}
}

func (program Program) command(ctx context.Context, env ...string) (*exec.Cmd, error) {
	if program == nil {
		return nil, errors.New("the measurement has processes of its own, and nothing says how they are started: Program")
	}
	return program(ctx, env...)
}

// task is the first line that a child reads: what it measures, and with which settings.
type task struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config,omitempty"`
}

// tasks are what children do, by name.
var tasks = map[string]func(config json.RawMessage, in *bufio.Reader, out io.Writer) error{
	"train":          trainTask,
	"scaling worker": scalingWorker,
}

// Child does what a process that a [Program] started is for: the first line of in says it.
func Child(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the first line of a measurement's process names the job: %w", err)
	}
	var t task
	if err := json.Unmarshal(line, &t); err != nil {
		return fmt.Errorf("the first line of a measurement's process: %w", err)
	}
	do, ok := tasks[t.Name]
	if !ok {
		return fmt.Errorf("a measurement's process knows no task %q", t.Name)
	}
	return do(t.Config, lines, out)
}

func trainTask(config json.RawMessage, _ *bufio.Reader, out io.Writer) error {
	var c TrainConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	r, err := Train(c)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// train is [Train] in a process of its own.
func (program Program) train(ctx context.Context, c TrainConfig, env ...string) (*TrainResult, error) {
	config, err := json.Marshal(&c)
	if err != nil {
		return nil, err
	}
	first, err := json.Marshal(task{Name: "train", Config: config})
	if err != nil {
		return nil, err
	}
	cmd, err := program.command(ctx, env...)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(first, '\n')), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		why := strings.TrimPrefix(lines[len(lines)-1], "adaptflow: ")
		if why == "" { // killed
			why = err.Error()
		}
		return nil, fmt.Errorf("%s", strings.TrimPrefix(why, "error: "))
	}
	var r TrainResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("what a process of the measurement wrote: %w", err)
	}
	return &r, nil
}
