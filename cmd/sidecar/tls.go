package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"sidecar/chain"
	"sidecar/internal/certs"
)

const tlsUsage = `sidecar tls --dir DIR [--host NAME]... [--client MODULE]...

Makes an authority, a certificate for the Signer API (localhost and every --host), and one for each --client. With clients the
API asks every caller for a certificate. Then, in the configuration file:

  [signer.tls_mode]
  type = "certificate"
  path = "DIR/server"
`

// names is a flag that may be given several times.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(v string) error {
	*n = append(*n, v)
	return nil
}

// makeCertificates is the command tls.
func makeCertificates(args []string) error {
	plan := certs.Plan{Now: chain.NewClock(chain.Spec{}, nil).Now()}
	flags := flag.NewFlagSet("tls", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&plan.Dir, "dir", "", "")
	flags.Var((*names)(&plan.Hosts), "host", "")
	flags.Var((*names)(&plan.Clients), "client", "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return show(tlsUsage)
	case err != nil:
		return errUsage.Wrap(err)
	case flags.NArg() > 0 || plan.Dir == "":
		return errUsage.With("\n%s", tlsUsage)
	}
	if err := certs.Make(plan); err != nil {
		return err
	}
	return show(fmt.Sprintf("Made certificates in %s. The server's folder is %[1]s/server; keep %[1]s/ca_key.pem off this machine.\n", plan.Dir))
}
