//go:build linux

// Command doors runs a command and looks from another network namespace, as another host would, which ports of its processes can be
// connected to. Every -every it reads the listening TCP sockets of all of the command's processes, those that outlived their parents
// too, and tries to connect to each port at every address of this machine. What is open is printed at once with the process that owns it.
//
//	doors -netns NAME [-every 100ms] [-least 1] -- COMMAND…
//	doors listen ADDRESS DURATION    a listener, for a control
//
// The exit code is 0 where nothing was open, 1 where something was, 2 where it could not be tried, 3 where the command failed, and 4
// where fewer than -least listening sockets were seen, so that nothing is proven.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	exitOpen   = 1
	exitUsage  = 2
	exitFailed = 3
	exitUnseen = 4
)

// The first thread stays in the namespace that the program began in, which /proc/self/net is about.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 4 && os.Args[1] == "listen" {
		if err := listen(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "doors:", err)
			os.Exit(exitUsage)
		}
		return
	}
	netns := flag.String("netns", "", "name of the network namespace to try from (ip netns add)")
	every := flag.Duration("every", 100*time.Millisecond, "how often the ports are tried")
	least := flag.Int("least", 1, "how many listening sockets must have been seen")
	flag.Parse()
	if *netns == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(exitUsage)
	}
	code, err := probe(*netns, *every, *least, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "doors:", err)
		code = exitUsage
	}
	os.Exit(code)
}

// listen listens at a TCP or, as udp:HOST:PORT, UDP address for a time.
func listen(address, duration string) error {
	d, err := time.ParseDuration(duration)
	if err != nil {
		return err
	}
	if udp, ok := strings.CutPrefix(address, "udp:"); ok {
		c, err := net.ListenPacket("udp", udp)
		if err != nil {
			return err
		}
		defer c.Close()
	} else {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		defer l.Close()
	}
	time.Sleep(d)
	return nil
}

// probe runs the command and tries its ports until it ends.
func probe(netns string, every time.Duration, least int, command []string) (int, error) {
	far, err := enter(netns)
	if err != nil {
		return 0, err
	}
	addresses, err := ownAddresses()
	if err != nil {
		return 0, err
	}
	// Processes whose parents end become children of this one, so that they stay in the tree.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("becoming the parent of orphans: %w", err)
	}
	status, err := start(command)
	if err != nil {
		return 0, err
	}
	r := report{open: map[string]bool{}, seen: map[socket]bool{}, groups: map[string]map[string]bool{}, other: map[string]bool{}}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := r.round(far, addresses); err != nil {
			return 0, err
		}
		select {
		case s := <-status:
			r.print()
			switch {
			case len(r.open) > 0:
				return exitOpen, nil
			case s != 0:
				fmt.Fprintf(os.Stderr, "doors: the command failed (status %d)\n", s)
				return exitFailed, nil
			case len(r.seen) < least:
				fmt.Fprintf(os.Stderr, "doors: %d listening sockets were seen, %d were expected: nothing is proven\n", len(r.seen), least)
				return exitUnseen, nil
			}
			return 0, nil
		case <-tick.C:
		}
	}
}

// start runs the command and returns where its exit status will come from. All children are reaped, adopted ones too.
func start(command []string) (<-chan int, error) {
	path := command[0]
	if !strings.Contains(path, "/") {
		found, err := lookPath(path)
		if err != nil {
			return nil, err
		}
		path = found
	}
	p, err := os.StartProcess(path, command, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return nil, err
	}
	pid := p.Pid
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for s := range signals {
			_ = syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
	status := make(chan int, 1)
	go func() {
		for {
			var ws unix.WaitStatus
			got, err := unix.Wait4(-1, &ws, 0, nil)
			switch {
			case err == unix.EINTR:
			case err != nil: // no child is left, or none yet
				time.Sleep(20 * time.Millisecond)
			case got == pid && ws.Signaled():
				status <- 128 + int(ws.Signal())
			case got == pid:
				status <- ws.ExitStatus()
			}
		}
	}()
	return status, nil
}

func lookPath(name string) (string, error) {
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		if fi, err := os.Stat(dir + "/" + name); err == nil && !fi.IsDir() && fi.Mode()&0o111 != 0 {
			return dir + "/" + name, nil
		}
	}
	return "", fmt.Errorf("%s: not found in PATH", name)
}

// ownAddresses are the addresses of this machine that another host may use. Addresses of a link need a zone there, and all of them
// are ways to the same sockets.
func ownAddresses() ([]net.IP, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []net.IP
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			out = append(out, n.IP)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("this machine has no address but those of the loopback interface")
	}
	return out, nil
}

// report is what has been seen and found.
type report struct {
	rounds int
	open   map[string]bool            // one line each
	seen   map[socket]bool            // the listening sockets that were tried
	groups map[string]map[string]bool // ports by process and address
	other  map[string]bool            // UDP and Unix sockets
}

// round reads the sockets of the process tree and tries them once.
func (r *report) round(far *namespace, addresses []net.IP) error {
	sockets, others, err := listening()
	if err != nil {
		return err
	}
	r.rounds++
	var targets []target
	for _, s := range sockets {
		r.seen[s] = true
		group := fmt.Sprintf("%s listens at %s", s.command, s.address)
		if r.groups[group] == nil {
			r.groups[group] = map[string]bool{}
		}
		r.groups[group][fmt.Sprint(s.port)] = true
		for _, ip := range addresses {
			targets = append(targets, target{ip, s.port, s})
		}
	}
	for _, t := range far.try(targets) {
		r.found(fmt.Sprintf("OPEN tcp %s, the listener at %s of process %d (%s)", net.JoinHostPort(t.ip.String(), fmt.Sprint(t.port)),
			net.JoinHostPort(t.of.address, fmt.Sprint(t.of.port)), t.of.pid, t.of.command))
	}
	for _, o := range others {
		if o.exposed {
			r.found("OPEN " + o.text + " (not tried: no answer says that nobody hears)")
		} else {
			r.other[o.text] = true
		}
	}
	return nil
}

func (r *report) found(line string) {
	if !r.open[line] {
		r.open[line] = true
		fmt.Fprintln(os.Stderr, line)
	}
}

func (r *report) print() {
	var lines []string
	for g, ports := range r.groups {
		names := []string{}
		for p := range ports {
			names = append(names, p)
		}
		slices.Sort(names)
		if len(names) > 6 {
			names = append(names[:6], "…")
		}
		lines = append(lines, fmt.Sprintf("%s, %d ports: %s", g, len(ports), strings.Join(names, " ")))
	}
	for o := range r.other {
		lines = append(lines, "not reached by other hosts: "+o)
	}
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Fprintln(os.Stderr, l)
	}
	fmt.Fprintf(os.Stderr, "doors: %d listening sockets tried in %d rounds, %d findings\n", len(r.seen), r.rounds, len(r.open))
}
