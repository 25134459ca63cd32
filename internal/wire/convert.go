package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	apideneb "github.com/attestantio/go-eth2-client/api/v1/deneb"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// specBlock is a SignedBlindedBeaconBlock of the spec's types.
type specBlock interface {
	json.Marshaler
	json.Unmarshaler
	MarshalSSZ() ([]byte, error)
	UnmarshalSSZ([]byte) error
	HashTreeRoot() ([32]byte, error)
}

// newSpecBlock returns an empty block; Fulu has Electra's.
func (b *BlindedBlock) newSpecBlock() specBlock {
	if b.Fork == chain.Deneb {
		return &apideneb.SignedBlindedBeaconBlock{}
	}
	return &apielectra.SignedBlindedBeaconBlock{}
}

// Convert writes the block in the other encoding through the spec's types. It
// fails unless the result has the very hash tree root of what was received.
// JSON members unknown to those types are lost. Fault: ErrDecode.
func (b *BlindedBlock) Convert(enc Encoding) ([]byte, error) {
	if enc == b.Encoding {
		return b.Body, nil
	}
	var out []byte
	err := guarded(func() error {
		received, err := b.specBlock()
		if err != nil {
			return err
		}
		converted := b.newSpecBlock()
		if enc == SSZ {
			if out, err = received.MarshalSSZ(); err == nil {
				err = converted.UnmarshalSSZ(out)
			}
		} else {
			if out, err = received.MarshalJSON(); err == nil {
				err = converted.UnmarshalJSON(out)
			}
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", enc, err)
		}
		return sameRoot(received, converted)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// specBlock decodes the body into the spec's types. SSZ must be canonical, or
// the root would be of other bytes.
func (b *BlindedBlock) specBlock() (specBlock, error) {
	block := b.newSpecBlock()
	if b.Encoding == JSON {
		return block, block.UnmarshalJSON(b.Body)
	}
	if err := block.UnmarshalSSZ(b.Body); err != nil {
		return nil, err
	}
	again, err := block.MarshalSSZ()
	if err == nil && !bytes.Equal(again, b.Body) {
		err = fmt.Errorf("not canonical")
	}
	return block, err
}

func sameRoot(a, b specBlock) error {
	want, err := a.HashTreeRoot()
	if err != nil {
		return err
	}
	got, err := b.HashTreeRoot()
	if err == nil && got != want {
		err = fmt.Errorf("root changed from %x to %x", want, got)
	}
	return err
}

// Root returns the hash tree root of the message, which is what is signed. It
// decodes the whole block: not for the hot path. Fault: ErrDecode.
func (b *BlindedBlock) Root() (root phase0.Root, err error) {
	err = guarded(func() error {
		block, err := b.specBlock()
		if err != nil {
			return err
		}
		switch v := block.(type) {
		case *apideneb.SignedBlindedBeaconBlock:
			root, err = v.Message.HashTreeRoot()
		case *apielectra.SignedBlindedBeaconBlock:
			root, err = v.Message.HashTreeRoot()
		}
		return err
	})
	return root, err
}

// guarded turns an error of f, and a panic inside the spec's types, into ErrDecode.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = ErrDecode.With("spec types: %.64s", fmt.Sprint(p))
		}
	}()
	if err := f(); err != nil {
		return ErrDecode.With("spec types: %.128s", err.Error())
	}
	return nil
}
