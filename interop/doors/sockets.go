//go:build linux

package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// socket is a TCP socket that listens.
type socket struct {
	address string
	port    int
	pid     int
	command string
}

// other is a UDP socket without a peer, or a Unix socket that listens.
type other struct {
	text    string
	exposed bool // to other hosts
}

// listening are the sockets of all descendants of this process that take what strangers send.
func listening() ([]socket, []other, error) {
	owners := map[string]int{} // process by inode
	names := map[int]string{}
	for _, pid := range descendants() {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			continue // it has ended
		}
		for _, fd := range fds {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
			if inode, ok := strings.CutPrefix(link, "socket:["); err == nil && ok {
				owners[strings.TrimSuffix(inode, "]")] = pid
			}
		}
		names[pid] = command(pid)
	}
	var sockets []socket
	var others []other
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		rows, err := rows("/proc/self/net/" + table)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range rows { // sl local_address rem_address st … inode
			if len(f) < 10 {
				continue
			}
			pid, ours := owners[f[9]]
			if !ours {
				continue
			}
			ip, port, err := address(f[1])
			if err != nil {
				return nil, nil, fmt.Errorf("/proc/self/net/%s: %w", table, err)
			}
			switch {
			case strings.HasPrefix(table, "tcp") && f[3] == "0A":
				sockets = append(sockets, socket{ip.String(), port, pid, names[pid]})
			case strings.HasPrefix(table, "udp") && strings.HasSuffix(f[2], ":0000"):
				at := net.JoinHostPort(ip.String(), strconv.Itoa(port))
				others = append(others, other{fmt.Sprintf("udp %s of process %d (%s)", at, pid, names[pid]), !ip.IsLoopback()})
			}
		}
	}
	unixRows, err := rows("/proc/self/net/unix")
	if err != nil {
		return nil, nil, err
	}
	for _, f := range unixRows { // Num RefCount Protocol Flags Type St Inode Path
		if len(f) < 8 || f[3] != "00010000" {
			continue
		}
		if pid, ours := owners[f[6]]; ours {
			others = append(others, other{fmt.Sprintf("unix socket %s of process %d (%s)", f[7], pid, names[pid]), false})
		}
	}
	return sockets, others, nil
}

// rows are the fields of a table's lines without its head.
func rows(path string) ([][]string, error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil // no IPv6
	}
	if err != nil {
		return nil, err
	}
	var out [][]string
	for i, line := range strings.Split(string(text), "\n") {
		if i > 0 && line != "" {
			out = append(out, strings.Fields(line))
		}
	}
	return out, nil
}

// address reads HEX:PORT, whose words are of this machine's order (little-endian: the test machines' processors).
func address(s string) (net.IP, int, error) {
	words, port, _ := strings.Cut(s, ":")
	ip, err := hex.DecodeString(words)
	if err != nil || len(ip)%4 != 0 {
		return nil, 0, fmt.Errorf("no address: %q", s)
	}
	for i := 0; i < len(ip); i += 4 {
		ip[i], ip[i+1], ip[i+2], ip[i+3] = ip[i+3], ip[i+2], ip[i+1], ip[i]
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return nil, 0, fmt.Errorf("no port: %q", s)
	}
	return ip, int(p), nil
}

// descendants are the processes below this one.
func descendants() []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// PID (COMMAND) STATE PPID: the command may hold anything.
		rest := string(text[strings.LastIndexByte(string(text), ')')+1:])
		f := strings.Fields(rest)
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if len(f) < 2 || err1 != nil {
			continue
		}
		if parent, err := strconv.Atoi(f[1]); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	var out []int
	for todo := []int{os.Getpid()}; len(todo) > 0; {
		next := children[todo[0]]
		todo = append(todo[1:], next...)
		out = append(out, next...)
	}
	return out
}

// command is a process's command line, shortened.
func command(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if len(text) == 0 { // while it starts or ends
		text, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	}
	line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
	if r := []rune(line); len(r) > 100 {
		line = string(r[:40]) + " … " + string(r[len(r)-57:])
	}
	return line
}
