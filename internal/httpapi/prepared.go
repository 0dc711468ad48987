package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// preparedProblem is a problem's JSON around the id of the request that it answers.
type preparedProblem struct{ head, tail []byte }

func prepareProblem(failure *sale.Error, kind problemKind) (preparedProblem, error) {
	id := rand.Text()
	body, err := json.Marshal(newProblem(id, "", failure, kind))
	if err != nil {
		return preparedProblem{}, fmt.Errorf("prepare a problem: %w", err)
	}
	head, tail, found := bytes.Cut(body, []byte(`"`+id+`"`))
	if !found {
		return preparedProblem{}, fmt.Errorf("prepare a problem: no instance in %s", body)
	}
	return preparedProblem{head: head, tail: tail}, nil
}

// answer is the problem for one request.
func (p preparedProblem) answer(id string) ([]byte, error) {
	body := make([]byte, 0, len(p.head)+len(id)+len(p.tail)+len(`""`))
	body, err := appendText(append(body, p.head...), id)
	return append(body, p.tail...), err
}

// refusals keeps the last refusal of lines that was answered, encoded: a crowd that
// comes too late is refused with one and the same, a batch at a time.
type refusals struct {
	last atomic.Pointer[preparedRefusal]
}

type preparedRefusal struct {
	of *sale.Error
	preparedProblem
}

// encode gives the JSON of a refusal of lines.
func (r *refusals) encode(id string, failure *sale.Error, kind problemKind) ([]byte, error) {
	if last := r.last.Load(); last != nil && last.of == failure {
		return last.answer(id)
	}
	prepared, err := prepareProblem(failure, kind)
	if err != nil {
		return nil, err
	}
	r.last.Store(&preparedRefusal{of: failure, preparedProblem: prepared})
	return prepared.answer(id)
}
