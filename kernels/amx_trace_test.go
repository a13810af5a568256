//go:build linux && amd64 && !noasm

package kernels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// envTraced says to the test's own program that its tiles are those of TestTilesTraced.
const envTraced = "ADAPTFLOW_TEST_TILES_TRACED"

// TestTilesTraced runs the assembly of the set AMX on any processor: in a child process, whose every instruction on tiles is an illegal one
// there, which this process then carries out in its stead. What the assembly gives must be the bits of the emulation in plain Go, which
// knows nothing of instructions. Where there are tiles, the other tests of products run the assembly.
func TestTilesTraced(t *testing.T) {
	if testing.Short() {
		t.Skip("carries out 25,000 instructions one by one")
	}
	if os.Getenv(envTraced) != "" {
		tracedProducts(t)
		return
	}
	switch {
	case Supported(AMX):
		t.Skip("the processor has tiles")
	case !Supported(AVX512BF16):
		t.Skip("the set's other instructions need AVX512_BF16")
	}
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestTilesTraced$", "-test.v")
	c.Env = append(os.Environ(), envTraced+"=1", "GOMAXPROCS=3")
	c.Stdout, c.Stderr, c.SysProcAttr = write, write, &syscall.SysProcAttr{Ptrace: true}
	if err := c.Start(); err != nil {
		t.Skipf("processes cannot be traced here: %v", err)
	}
	write.Close()
	done := make(chan bool)
	go func() { out.ReadFrom(read); close(done) }()
	tr := &tracer{threads: map[int]*tileState{}}
	status, err := tr.run(c.Process.Pid)
	<-done
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if status != 0 || !bytes.Contains(out.Bytes(), []byte("PASS")) {
		t.Errorf("the child ended with %d:\n%s", status, out.String())
	}
	t.Logf("instructions on tiles: %v", tr.count)
	for _, op := range []string{"LDTILECFG", "TILERELEASE", "TILEZERO", "TILELOADD", "TILESTORED", "TDPBF16PS", "TDPBSSD"} {
		if tr.count[op] == 0 {
			t.Errorf("%s was not tried", op)
		}
	}
}

// tracedProducts compares the assembly with the emulation.
func tracedProducts(t *testing.T) {
	old := active.Swap(uint32(AMX))
	defer active.Store(old)
	r := rand.New(rand.NewPCG(20, 3))
	p := pool.New(2)
	defer p.Close()
	both := func(what string, c []float32, product func(c []float32)) {
		t.Helper()
		want := slices.Clone(c)
		product(c)
		restore := EmulateTiles(AVX512BF16)
		product(want)
		restore()
		sameBits(t, what, want, c)
	}
	shapes := [][3]int{{1, 48, 32}, {16, 144, 96}, {17, 31, 33}, {40, 200, 350}, {33, 96, 64}, {5, 71, 5}, {70, 340, 70}}
	for range 6 {
		shapes = append(shapes, [3]int{1 + r.IntN(70), 1 + r.IntN(200), 1 + r.IntN(300)})
	}
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		w, x, y := randn(r, n*k), randn(r, m*k), randn(r, m*n)
		b := PackHalf(make([]uint16, HalfLen(k, n)), k, n, w, 1, k)
		for _, beta := range []float32{0, 1} {
			both(fmt.Sprint("MatMul ", s), randn(r, m*(n+1)), func(c []float32) { MatMul(p, m, x, k, b, beta, c, n+1) })
			both(fmt.Sprint("MatMulT ", s), randn(r, m*k), func(c []float32) { MatMulT(p, m, y, n, b, beta, c, k) })
		}
		codes, q := make([]float32, m*k), make([]int8, halfRows(k)*2*panelCols*panels(n))
		for i := range codes {
			codes[i] = float32(r.IntN(256) - 128)
		}
		for i := range q {
			q[i] = int8(r.Uint32())
		}
		both(fmt.Sprint("MatMulInt8 ", s), randn(r, m*n), func(c []float32) {
			quads, panel := make([]uint16, QuadsLen(k, n)), halfRows(k)*2*panelCols
			for i := range panels(n) {
				Quads8(quads[i*QuadsLen(k, 1):], q[i*panel:][:panel], halfRows(k))
			}
			MatMulInt8(p, m, n, k, codes, quads, c, n)
		})
	}
}

// tileState is what a thread has of tiles.
type tileState struct {
	configured bool
	cfg        tileConfig
	data       [8][16][64]byte
}

// tracer carries out the instructions on tiles of a child's threads.
type tracer struct {
	threads map[int]*tileState
	count   map[string]int
}

// run lets the child run to its end and returns its exit status.
func (tr *tracer) run(pid int) (int, error) {
	tr.count = map[string]int{}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		return 0, err
	}
	const exitKill = 0x100000 // PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACECLONE|exitKill); err != nil {
		return 0, err
	}
	if err := syscall.PtraceCont(pid, 0); err != nil {
		return 0, err
	}
	for {
		tid, err := syscall.Wait4(-1, &ws, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case ws.Exited() && tid == pid:
			return ws.ExitStatus(), nil
		case ws.Signaled() && tid == pid:
			return 0, fmt.Errorf("the child was ended by %v", ws.Signal())
		case !ws.Stopped():
			continue
		}
		pass := 0
		switch sig := ws.StopSignal(); {
		case sig == syscall.SIGTRAP:
		case sig == syscall.SIGSTOP && tr.threads[tid] == nil: // a new thread's first
			tr.threads[tid] = &tileState{}
		case sig == syscall.SIGILL:
			if tr.threads[tid] == nil {
				tr.threads[tid] = &tileState{}
			}
			if err := tr.step(pid, tid, tr.threads[tid]); err != nil {
				syscall.Kill(pid, syscall.SIGKILL)
				return 0, err
			}
		default:
			pass = int(sig)
		}
		if err := syscall.PtraceCont(tid, pass); err != nil && !errors.Is(err, syscall.ESRCH) {
			return 0, err
		}
	}
}

// memory copies between the child's memory and b.
func memory(pid int, at uint64, b []byte, write bool) error {
	local, remote := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}
	f := unix.ProcessVMReadv
	if write {
		f = unix.ProcessVMWritev
	}
	if n, err := f(pid, local, remote, 0); err != nil || n != len(b) {
		return fmt.Errorf("%d bytes of the child's memory at %x: %v", n, at, err)
	}
	return nil
}

// step carries out the instruction that a thread stopped at.
func (tr *tracer) step(pid, tid int, s *tileState) error {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	var code [16]byte
	if err := memory(pid, regs.Rip, code[:], false); err != nil {
		return err
	}
	in, err := decodeTile(code[:], &regs)
	if err != nil {
		return fmt.Errorf("at %x: % x: %w", regs.Rip, code, err)
	}
	tr.count[in.op]++
	if err := in.do(pid, s); err != nil {
		return fmt.Errorf("at %x: %s: %w", regs.Rip, in.op, err)
	}
	regs.Rip += uint64(in.length)
	return syscall.PtraceSetRegs(tid, &regs)
}

// tileInstruction is one instruction on tiles, its operands worked out.
type tileInstruction struct {
	op        string
	length    int
	address   uint64
	stride    uint64
	dst, a, b int
	registers bool
}

// decodeTile reads an instruction as chapter 2.3 of Intel's manual has those with a VEX prefix of three bytes.
func decodeTile(code []byte, regs *syscall.PtraceRegs) (in tileInstruction, err error) {
	general := []uint64{regs.Rax, regs.Rcx, regs.Rdx, regs.Rbx, regs.Rsp, regs.Rbp, regs.Rsi, regs.Rdi, regs.R8, regs.R9, regs.R10,
		regs.R11, regs.R12, regs.R13, regs.R14, regs.R15}
	if code[0] != 0xc4 || code[1]&0x1f != 2 || code[1]&0x80 == 0 || code[2]&0x84 != 0 {
		return in, errors.New("no instruction on tiles")
	}
	prefix, opcode, modrm := code[2]&3, code[3], code[4]
	in.dst, in.a, in.b, in.length = int(modrm>>3&7), int(modrm&7), int(^code[2]>>3&15), 5
	high := func(bit byte) int { return int(^code[1]>>bit&1) << 3 }
	in.registers = modrm>>6 == 3
	if !in.registers {
		base := in.a
		if in.a == 4 {
			sib := code[5]
			in.length++
			base = int(sib & 7)
			in.stride = general[int(sib>>3&7)|high(6)] << (sib >> 6)
		}
		if modrm>>6 == 0 && base == 5 {
			return in, errors.New("an address that no generator writes")
		}
		in.address = general[base|high(5)]
		switch modrm >> 6 {
		case 1:
			in.address += uint64(int64(int8(code[in.length])))
			in.length++
		case 2:
			in.address += uint64(int64(int32(binary.LittleEndian.Uint32(code[in.length:]))))
			in.length += 4
		}
	}
	type form struct {
		opcode, prefix byte
		registers      bool
	}
	in.op = map[form]string{
		{0x49, 0, false}: "LDTILECFG", {0x49, 0, true}: "TILERELEASE", {0x49, 3, true}: "TILEZERO", {0x4b, 3, false}: "TILELOADD",
		{0x4b, 2, false}: "TILESTORED", {0x5c, 2, true}: "TDPBF16PS", {0x5e, 3, true}: "TDPBSSD",
	}[form{opcode, prefix, in.registers}]
	if in.op == "" {
		return in, errors.New("an instruction that this test does not know")
	}
	return in, nil
}

// do carries the instruction out, with the conditions under which a processor refuses it.
func (in *tileInstruction) do(pid int, s *tileState) error {
	if in.op == "LDTILECFG" {
		var b [64]byte
		if err := memory(pid, in.address, b[:], false); err != nil {
			return err
		}
		return s.configure(b)
	}
	if in.op == "TILERELEASE" {
		*s = tileState{}
		return nil
	}
	size := func(t int) (rows, bytes int) { return int(s.cfg.rows[t]), int(s.cfg.colsb[t]) }
	rows, wide := size(in.dst)
	if !s.configured || rows == 0 || wide == 0 {
		return errors.New("a tile that is not configured")
	}
	tile := &s.data[in.dst]
	switch in.op {
	case "TILEZERO":
		*tile = [16][64]byte{}
	case "TILELOADD":
		*tile = [16][64]byte{}
		for r := range rows {
			if err := memory(pid, in.address+uint64(r)*in.stride, tile[r][:wide], false); err != nil {
				return err
			}
		}
	case "TILESTORED":
		for r := range rows {
			if err := memory(pid, in.address+uint64(r)*in.stride, tile[r][:wide], true); err != nil {
				return err
			}
		}
	default:
		aRows, aWide := size(in.a)
		bRows, bWide := size(in.b)
		one := in.dst == in.a || in.a == in.b || in.dst == in.b // of three that are to be different
		if one || in.b > 7 || aRows != rows || bWide != wide || aWide != 4*bRows || aWide == 0 {
			return fmt.Errorf("tiles %d [%d, %d], %d [%d, %d], %d [%d, %d] do not fit", in.dst, rows, wide, in.a, aRows, aWide, in.b, bRows,
				bWide)
		}
		for m := range rows {
			for n := range wide / 4 {
				c := tile[m][4*n:]
				binary.LittleEndian.PutUint32(c, in.dot(binary.LittleEndian.Uint32(c), &s.data[in.a][m], &s.data[in.b], n, bRows))
			}
		}
	}
	return nil
}

// dot is one element of a product of tiles.
func (in *tileInstruction) dot(c uint32, a *[64]byte, b *[16][64]byte, n, words int) uint32 {
	if in.op == "TDPBSSD" {
		sum := int32(c)
		for k := range words {
			for i := range 4 {
				sum += int32(int8(a[4*k+i])) * int32(int8(b[k][4*n+i]))
			}
		}
		return uint32(sum)
	}
	value := func(b []byte) float64 { return float64(daz(widen(binary.LittleEndian.Uint16(b)))) }
	var sum [2]float32
	for i := range sum {
		for k := range words {
			sum[i] = flush(float64(sum[i]) + value(a[4*k+2*i:])*value(b[k][4*n+2*i:]))
		}
	}
	both := flush(float64(sum[0]) + float64(sum[1]))
	return math.Float32bits(flush(float64(daz(math.Float32frombits(c))) + float64(both)))
}

// configure takes a configuration as LDTILECFG does.
func (s *tileState) configure(b [64]byte) error {
	*s = tileState{configured: true}
	zero := func(b []byte) bool { return !slices.ContainsFunc(b, func(v byte) bool { return v != 0 }) }
	if b[0] != 1 || !zero(b[1:16]) || !zero(b[32:48]) || !zero(b[56:]) {
		return fmt.Errorf("the configuration % x", b)
	}
	for t := range 8 {
		s.cfg.colsb[t], s.cfg.rows[t] = binary.LittleEndian.Uint16(b[16+2*t:]), b[48+t]
		if s.cfg.colsb[t] > 64 || s.cfg.rows[t] > 16 || (s.cfg.colsb[t] == 0) != (s.cfg.rows[t] == 0) {
			return fmt.Errorf("tile %d of the configuration % x", t, b)
		}
	}
	return nil
}
