package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/answer"
	"sidecar/internal/bls"
)

const answerUsage = `sidecar answer verify FILE    whether a SignedCommitment is signed by whom it should be (docs/commitments.md)

  --network NAME       mainnet, hoodi, sepolia or holesky
  --delegation FILE    the slot's SignedDelegation, as relays serve it: its own signature is verified, and it names both keys
  --committer ADDRESS  or the two keys themselves
  --delegate PUBKEY

FILE is the answer, or the JSON-RPC response around it; - is standard input. Exit codes: 0 both signatures verify, 1 not, 2 not such a file.
`

// answerCommand checks what a gateway answered.
func answerCommand(args []string) error {
	if len(args) == 0 || args[0] != "verify" {
		return errUsage.With("name what to do\n%s", answerUsage)
	}
	flags := flag.NewFlagSet("answer verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	network, delegation := flags.String("network", "", ""), flags.String("delegation", "", "")
	committer, delegate := flags.String("committer", "", ""), flags.String("delegate", "", "")
	names, err := parseMixed(flags, args[1:], answerUsage)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return show(answerUsage)
	case err != nil:
		return err
	case len(names) != 1:
		return errUsage.With("%d files, want one\n%s", len(names), answerUsage)
	}
	spec, known := chain.Named(*network)
	if !known {
		return errUsage.With("--network %.40q is none that is known", *network)
	}
	var by answer.Signers
	switch {
	case *delegation != "" && *committer == "" && *delegate == "":
		by, err = delegated(spec, *delegation)
	case *delegation == "":
		err = errors.Join(flagBytes("committer", *committer, by.Committer[:]), flagBytes("delegate", *delegate, by.Delegate[:]))
	default:
		err = errUsage.With("either --delegation, or --committer and --delegate")
	}
	if err != nil {
		return err
	}
	signed, err := readAnswer(names[0])
	if err != nil {
		return err
	}
	c := signed.Commitment
	asked := commitments.Request{Type: c.Type, Payload: c.Payload, Slasher: c.Slasher}
	if err := answer.Verify(spec, asked, signed, by); err != nil {
		return err
	}
	return show(promiseText(signed, by))
}

// promiseText says what was promised, and by whom.
func promiseText(s commitments.SignedCommitment, by answer.Signers) string {
	what := fmt.Sprintf("type %#x", s.Commitment.Type)
	switch s.Commitment.Type {
	case commitments.TypeInclusion:
		if slot, tx, err := commitments.DecodeInclusion(s.Commitment.Payload); err == nil {
			what = fmt.Sprintf("a transaction of %d bytes in slot %d (type 1)", len(tx), uint64(slot))
		}
	case commitments.TypeProvableInclusion:
		if slot, index, tx, err := commitments.DecodeProvableInclusion(s.Commitment.Payload); err == nil {
			what = fmt.Sprintf("a transaction of %d bytes in slot %d by validator %d (incl)", len(tx), uint64(slot), uint64(index))
		}
	}
	return fmt.Sprintf("promised  %s\nsigned by %s, nonce %d\nand by    %#x, nonce %d, branch of %d\n",
		what, by.Committer, s.Nonce, by.Delegate[:], s.Proxy.Nonce, len(s.Proxy.Branch))
}

// readAnswer reads a signed commitment, or the response that holds one.
func readAnswer(name string) (s commitments.SignedCommitment, err error) {
	text, err := evidenceText(name)
	if err != nil {
		return s, errUsage.Wrap(err)
	}
	var response struct {
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal(text, &response) == nil && len(response.Result) > 0 {
		text = response.Result
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, errUsage.Wrap(err)
	}
	return s, nil
}

// delegated verifies a delegation and returns the keys that it names.
func delegated(spec chain.Spec, name string) (by answer.Signers, err error) {
	text, err := evidenceText(name)
	if err != nil {
		return by, errUsage.Wrap(err)
	}
	var d commitments.SignedDelegation
	if err := json.Unmarshal(text, &d); err != nil {
		return by, errUsage.Wrap(err)
	}
	object, err := d.Message.Root()
	if err != nil {
		return by, errUsage.Wrap(err)
	}
	root := commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, object, d.SigningID, d.Nonce)
	if !bls.Verify(d.Message.Proposer, root, d.Signature) {
		return by, answer.ErrProxy.With("the delegation is not signed by its proposer")
	}
	return answer.Signers{Committer: d.Message.Committer, Delegate: d.Message.Delegate}, nil
}

func flagBytes(name, text string, into []byte) error {
	b, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil || len(b) != len(into) {
		return errUsage.With("--%s is not 0x and %d hex digits", name, 2*len(into))
	}
	copy(into, b)
	return nil
}
