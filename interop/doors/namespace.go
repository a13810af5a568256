//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a thread of this process in another network namespace.
type namespace struct {
	todo chan []target
	done chan []target
}

// target is an address to try, and the socket it may belong to.
type target struct {
	ip   net.IP
	port int
	of   socket
}

// patience is how long a connection may take: the other namespace is on this machine, and what refuses answers at once.
const patience = 80 * time.Millisecond

// enter starts the thread in the namespace that ip netns has made.
func enter(name string) (*namespace, error) {
	f, err := os.Open("/run/netns/" + name)
	if err != nil {
		return nil, fmt.Errorf("%w: make it with ip netns add", err)
	}
	n := &namespace{make(chan []target), make(chan []target)}
	failed := make(chan error)
	go func() {
		defer f.Close()
		runtime.LockOSThread() // for good: a thread in another namespace serves nothing else
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			failed <- fmt.Errorf("entering the network namespace %s: %w", name, err)
			return
		}
		failed <- nil
		for targets := range n.todo {
			n.done <- connect(targets)
		}
	}()
	return n, <-failed
}

// try returns those targets that could be connected to from the namespace.
func (n *namespace) try(targets []target) []target {
	n.todo <- targets
	return <-n.done
}

// connect begins all connections at once and waits for their outcome.
func connect(targets []target) []target {
	const atOnce = 500
	var open []target
	for len(targets) > 0 {
		some := targets[:min(atOnce, len(targets))]
		targets = targets[len(some):]
		var polled []unix.PollFd
		var of []target
		for _, t := range some {
			fd, now, err := begin(t)
			switch {
			case err != nil: // refused or unreachable at once
			case now:
				open = append(open, t)
				unix.Close(fd)
			default:
				polled, of = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLOUT}), append(of, t)
			}
		}
		for end := time.Now().Add(patience); len(polled) > 0; {
			left := time.Until(end)
			n, err := unix.Poll(polled, max(0, int(left.Milliseconds())))
			if left <= 0 || err != nil && err != unix.EINTR || n == 0 && left <= time.Millisecond {
				break
			}
			var waiting []unix.PollFd
			var waitingOf []target
			for i, p := range polled {
				if p.Revents == 0 {
					waiting, waitingOf = append(waiting, p), append(waitingOf, of[i])
					continue
				}
				if code, err := unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code == 0 {
					open = append(open, of[i])
				}
				unix.Close(int(p.Fd))
			}
			polled, of = waiting, waitingOf
		}
		for _, p := range polled {
			unix.Close(int(p.Fd))
		}
	}
	return open
}

// begin starts to connect; now says that it is done already.
func begin(t target) (fd int, now bool, err error) {
	family, to := unix.AF_INET6, unix.Sockaddr(nil)
	if v4 := t.ip.To4(); v4 != nil {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: t.port, Addr: [4]byte(v4)}
	} else {
		to = &unix.SockaddrInet6{Port: t.port, Addr: [16]byte(t.ip.To16())}
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, false, err
	}
	switch err = unix.Connect(fd, to); err {
	case nil:
		return fd, true, nil
	case unix.EINPROGRESS:
		return fd, false, nil
	}
	unix.Close(fd)
	return 0, false, err
}
