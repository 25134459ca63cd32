package pgtest

import "syscall"

// dyingWithUs makes a child end when the test binary is killed.
func dyingWithUs(attr syscall.SysProcAttr) *syscall.SysProcAttr {
	attr.Pdeathsig = syscall.SIGQUIT
	return &attr
}
