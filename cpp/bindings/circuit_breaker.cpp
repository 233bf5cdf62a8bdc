// The circuit breaker for Python. A call through it must cost little beside the call: the breaker, what it makes of a
// function, and what it makes of a coroutine are raw heap types.
//
// While CLOSED, a call neither reads a clock nor takes a lock: the interpreter lock guards the machine, which runs no
// Python code. Clocks, predicates and callbacks do, so they run before or after it, never inside. An exception on its
// way out is put aside meanwhile.
#include <pybind11/pybind11.h>
#include <structmember.h>

#include <array>
#include <bit>
#include <memory>
#include <new>
#include <utility>

#include "bindings/bindings.hpp"
#include "bindings/clock.hpp"
#include "bindings/fast_type.hpp"
#include "sentinel/resilience/circuit_breaker.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using resilience::BreakerAnswer;
using resilience::BreakerMode;
using resilience::BreakerPermit;
using resilience::BreakerSettings;
using resilience::BreakerState;
using resilience::CallTimes;
using resilience::CircuitBreaker;
using resilience::OutcomeCounts;

PyTypeObject* breaker_type = nullptr;
PyTypeObject* guard_type = nullptr;
PyTypeObject* coroutine_type = nullptr;
PyTypeObject* block_type = nullptr;
PyObject* open_blocks = nullptr;  // a ContextVar: the innermost `with` block of this context, or None

// The breaker

enum class Face : std::uint8_t { closed, half_open, open, forced_open, forced_closed, disabled };
constexpr std::array<const char*, 6> kFaces = {"closed",      "half_open",     "open",
                                               "forced_open", "forced_closed", "disabled"};

struct Breaker {
  CircuitBreaker machine;
  BreakerSettings settings;

  bool timed() const { return settings.slow_duration > Duration{0}; }

  Face face() const {
    if (machine.disabled()) return Face::disabled;
    if (machine.mode() == BreakerMode::forced_open) return Face::forced_open;
    if (machine.mode() == BreakerMode::forced_closed) return Face::forced_closed;
    if (machine.state() == BreakerState::closed) return Face::closed;
    return machine.state() == BreakerState::open ? Face::open : Face::half_open;
  }
};

struct BreakerObject {
  PyObject base;
  Breaker* core;
  PyObject* name;        // str, may be empty
  PyObject* clock;       // nullptr: time.monotonic
  PyObject* recorded;    // exception classes, or a predicate
  PyObject* ignored;     // likewise
  PyObject* on_change;   // nullptr, or called with the old and the new state
  PyObject* open_error;  // the class of refusals
};

BreakerObject* as_breaker(PyObject* self) { return reinterpret_cast<BreakerObject*>(self); }
PyObject* as_object(BreakerObject* breaker) { return reinterpret_cast<PyObject*>(breaker); }

// Puts the exception under way aside, for as long as other Python code runs.
class PutAside {
 public:
  PutAside() { PyErr_Fetch(&type_, &value_, &trace_); }
  ~PutAside() { PyErr_Restore(type_, value_, trace_); }
  PutAside(const PutAside&) = delete;
  PutAside& operator=(const PutAside&) = delete;

  PyObject* type() const { return type_; }
  PyObject* value() {
    PyErr_NormalizeException(&type_, &value_, &trace_);
    return value_;
  }

 private:
  PyObject* type_ = nullptr;
  PyObject* value_ = nullptr;
  PyObject* trace_ = nullptr;
};

// Tells of a change since `before`. What the callback raises is no matter of the call.
void tell(BreakerObject* self, Face before) {
  const Face after = self->core->face();
  if (after == before || self->on_change == nullptr) return;
  const PutAside aside;
  PyObject* callback = Py_NewRef(self->on_change);
  PyObject* done = PyObject_CallFunction(callback, "ss", kFaces[static_cast<std::size_t>(before)],
                                         kFaces[static_cast<std::size_t>(after)]);
  if (done == nullptr) PyErr_WriteUnraisable(callback);
  Py_XDECREF(done);
  Py_DECREF(callback);
}

// A call under way.
struct Attempt {
  BreakerPermit permit;
  Duration started{0};
};

void refuse(BreakerObject* self, const std::optional<Duration>& retry_after) {
  const double seconds = retry_after ? static_cast<double>(retry_after->count()) / 1e6 : 0;
  PyObject* retry = retry_after ? PyFloat_FromDouble(seconds) : Py_NewRef(Py_None);
  if (retry == nullptr) return;
  PyObject* error = PyObject_CallFunctionObjArgs(self->open_error, self->name, retry, nullptr);
  Py_DECREF(retry);
  if (error == nullptr) return;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  Py_DECREF(error);
}

// Asks with the time at hand. False without an exception if the call may not pass.
bool ask(BreakerObject* self, Attempt& attempt, std::optional<Duration>& retry_after) {
  Duration now{};
  if (!read_clock(self->clock, now)) return false;
  const Face before = self->core->face();
  const BreakerAnswer answer = self->core->machine.allow({now, now});
  attempt.started = now;
  if (answer.permit) attempt.permit = *answer.permit;
  retry_after = answer.retry_after;
  tell(self, before);
  return answer.permit.has_value();
}

bool begin_slowly(BreakerObject* self, Attempt& attempt) {
  std::optional<Duration> retry_after;
  if (ask(self, attempt, retry_after)) return true;
  if (PyErr_Occurred() == nullptr) refuse(self, retry_after);
  return false;
}

// False with an exception set if the call may not pass.
inline bool begin(BreakerObject* self, Attempt& attempt) {
  if (!self->core->timed() && self->core->machine.pass_quietly(attempt.permit)) return true;
  return begin_slowly(self, attempt);
}

void cancel(BreakerObject* self, Attempt& attempt) { self->core->machine.cancel(attempt.permit); }

// The time of a report. If the clock fails, nothing can be reported and the permit goes back.
bool read_end(BreakerObject* self, Attempt& attempt, Duration& now, CallTimes& times) {
  if (!read_clock(self->clock, now)) {
    PyErr_WriteUnraisable(self->clock);
    cancel(self, attempt);
    return false;
  }
  times.duration = std::max(Duration{0}, now - attempt.started);
  return true;
}

void succeed_slowly(BreakerObject* self, Attempt& attempt) {
  const PutAside aside;
  Duration now{};
  CallTimes times;
  if (!read_end(self, attempt, now, times)) return;
  const Face before = self->core->face();
  self->core->machine.record_success(attempt.permit, times, {now, now});
  tell(self, before);
}

inline void succeed(BreakerObject* self, Attempt& attempt) {
  if (!self->core->timed() && self->core->machine.succeed_quietly(attempt.permit)) return;
  succeed_slowly(self, attempt);
}

void fail(BreakerObject* self, Attempt& attempt) {
  Duration now{};
  CallTimes times;
  if (!read_end(self, attempt, now, times)) return;
  const Face before = self->core->face();
  self->core->machine.record_failure(attempt.permit, times, {now, now});
  tell(self, before);
}

enum class Verdict : std::uint8_t { failure, success, nothing };

// Whether an exception is one of those: classes, or a predicate. A predicate that raises says `otherwise`.
bool matches(PyObject* which, PyObject* type, PyObject* value, bool otherwise) {
  if (PyTuple_Check(which) || PyExceptionClass_Check(which))
    return PyErr_GivenExceptionMatches(type, which) != 0;
  PyObject* predicate = Py_NewRef(which);
  PyObject* said = PyObject_CallOneArg(predicate, value);
  const int truth = said == nullptr ? -1 : PyObject_IsTrue(said);
  if (truth < 0) PyErr_WriteUnraisable(predicate);
  Py_XDECREF(said);
  Py_DECREF(predicate);
  return truth < 0 ? otherwise : truth != 0;
}

// What is no Exception (a cancelled task, a KeyboardInterrupt, a closed generator) says nothing of the callee.
Verdict judge(BreakerObject* self, PyObject* type, PyObject* value) {
  if (PyErr_GivenExceptionMatches(type, PyExc_Exception) == 0) return Verdict::nothing;
  if (matches(self->ignored, type, value, false)) return Verdict::nothing;
  return matches(self->recorded, type, value, true) ? Verdict::failure : Verdict::success;
}

void report(BreakerObject* self, Attempt& attempt, Verdict verdict) {
  if (verdict == Verdict::failure) return fail(self, attempt);
  if (verdict == Verdict::success) return succeed(self, attempt);
  cancel(self, attempt);
}

// The call has raised, and goes on raising.
void end_by_error(BreakerObject* self, Attempt& attempt) {
  PutAside aside;
  PyObject* value = aside.value();
  report(self, attempt, judge(self, aside.type(), value));
}

Breaker* core_of(PyObject* self) {
  Breaker* core = as_breaker(self)->core;
  if (core == nullptr) PyErr_SetString(PyExc_RuntimeError, "the breaker was not initialised");
  return core;
}

// As CircuitBreaker.__init__ has checked it.
PyObject* breaker_init(PyObject* self, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"name",
                                "failure_rate_percent",
                                "slow_rate_percent",
                                "slow_seconds",
                                "by_time",
                                "window_calls",
                                "window_seconds",
                                "window_buckets",
                                "minimum_calls",
                                "wait_seconds",
                                "wait_factor",
                                "longest_wait_seconds",
                                "jitter_percent",
                                "probes",
                                "probe_seconds",
                                "half_open_seconds",
                                "recorded",
                                "ignored",
                                "clock",
                                "on_change",
                                "open_error",
                                "seed",
                                nullptr};
  BreakerSettings settings;
  settings.probe_rule = resilience::ProbeRule::rates;
  PyObject *name = nullptr, *recorded = nullptr, *ignored = nullptr, *clock = nullptr, *on_change = nullptr,
           *open_error = nullptr;
  int by_time = 0;
  double slow = 0, window = 0, wait = 0, longest = 0, probe = 0, half_open = 0;
  unsigned long long seed = 0;
  if (!PyArg_ParseTupleAndKeywords(
          args, keywords, "O!IIdpIdIIdIdIIddOOOOOK", const_cast<char**>(names), &PyUnicode_Type, &name,
          &settings.failure_rate_percent, &settings.slow_rate_percent, &slow, &by_time,
          &settings.window_calls, &window, &settings.window_buckets, &settings.minimum_calls, &wait,
          &settings.wait_factor, &longest, &settings.jitter_percent, &settings.probes, &probe, &half_open,
          &recorded, &ignored, &clock, &on_change, &open_error, &seed))
    return nullptr;
  const auto write = [](double seconds, Duration& out) { return to_duration(seconds, out); };
  if (!write(slow, settings.slow_duration) || !write(window, settings.window_length) ||
      !write(wait, settings.open_wait) || !write(longest, settings.longest_wait) ||
      !write(probe, settings.probe_timeout) || !write(half_open, settings.longest_half_open))
    return nullptr;
  settings.window = by_time != 0 ? resilience::WindowKind::time : resilience::WindowKind::count;
  auto* breaker = as_breaker(self);
  if (breaker->core != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a breaker is initialised once");
    return nullptr;
  }
  if (const Status valid = resilience::validate(settings); !valid) {
    PyErr_SetString(PyExc_ValueError, valid.error().message.c_str());
    return nullptr;
  }
  breaker->core = new Breaker{CircuitBreaker(settings, seed), settings};
  breaker->name = Py_NewRef(name);
  breaker->recorded = Py_NewRef(recorded);
  breaker->ignored = Py_NewRef(ignored);
  breaker->open_error = Py_NewRef(open_error);
  breaker->clock = clock == Py_None ? nullptr : Py_NewRef(clock);
  breaker->on_change = on_change == Py_None ? nullptr : Py_NewRef(on_change);
  Py_RETURN_NONE;
}

int breaker_traverse(PyObject* self, visitproc visit, void* arg) {
  const auto* breaker = as_breaker(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(breaker->name);
  Py_VISIT(breaker->clock);
  Py_VISIT(breaker->recorded);
  Py_VISIT(breaker->ignored);
  Py_VISIT(breaker->on_change);
  Py_VISIT(breaker->open_error);
  return 0;
}

// What a call under way still needs stays until the end: the classes are no way into a cycle worth breaking.
int breaker_clear(PyObject* self) {
  Py_CLEAR(as_breaker(self)->on_change);
  Py_CLEAR(as_breaker(self)->clock);
  return 0;
}

void breaker_free(PyObject* self) {
  auto* breaker = as_breaker(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  breaker_clear(self);
  Py_CLEAR(breaker->name);
  Py_CLEAR(breaker->recorded);
  Py_CLEAR(breaker->ignored);
  Py_CLEAR(breaker->open_error);
  delete breaker->core;
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* breaker_allow(PyObject* self, PyObject*) {
  if (core_of(self) == nullptr) return nullptr;
  Attempt attempt;
  if (core_of(self)->machine.pass_quietly(attempt.permit)) Py_RETURN_TRUE;
  std::optional<Duration> retry_after;
  if (ask(as_breaker(self), attempt, retry_after)) Py_RETURN_TRUE;
  if (PyErr_Occurred() != nullptr) return nullptr;
  Py_RETURN_FALSE;
}

// What is recorded without a `with` block or a guarded function: nobody knows which call it was.
PyObject* record(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords,
                 const Parameters<1>& parameters, bool failed) {
  std::array<PyObject*, 1> given{};
  if (!parameters.match(args, count, keywords, given) || core_of(self) == nullptr) return nullptr;
  CallTimes times;
  if (given[0] != nullptr && !read_seconds(given[0], "seconds", times.duration)) return nullptr;
  auto* breaker = as_breaker(self);
  CircuitBreaker& machine = breaker->core->machine;
  BreakerPermit permit = machine.unnamed_permit();
  if (!failed && times.duration == Duration{0} && machine.succeed_quietly(permit)) Py_RETURN_NONE;
  Duration now{};
  if (!read_clock(breaker->clock, now)) return nullptr;
  const Face before = breaker->core->face();
  permit = machine.unnamed_permit();
  failed ? machine.record_failure(permit, times, {now, now})
         : machine.record_success(permit, times, {now, now});
  tell(breaker, before);
  Py_RETURN_NONE;
}

constexpr Parameters<1> kSuccess("record_success", {"seconds"}, 0);
constexpr Parameters<1> kFailure("record_failure", {"seconds"}, 0);

PyObject* breaker_success(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  return record(self, args, count, keywords, kSuccess, false);
}

PyObject* breaker_failure(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  return record(self, args, count, keywords, kFailure, true);
}

PyObject* breaker_cancel(PyObject* self, PyObject*) {
  if (core_of(self) == nullptr) return nullptr;
  BreakerPermit permit = core_of(self)->machine.unnamed_permit();
  core_of(self)->machine.cancel(permit);
  Py_RETURN_NONE;
}

// A function called under a breaker that stays alive meanwhile.
PyObject* call_under(BreakerObject* breaker, PyObject* function, PyObject* const* args, std::size_t count,
                     PyObject* keywords) {
  Attempt attempt;
  if (!begin(breaker, attempt)) return nullptr;
  PyObject* result = PyObject_Vectorcall(function, args, count, keywords);
  if (result != nullptr) {
    succeed(breaker, attempt);
  } else {
    end_by_error(breaker, attempt);
  }
  return result;
}

PyObject* breaker_call(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  if (core_of(self) == nullptr) return nullptr;
  if (count < 1) {
    PyErr_SetString(PyExc_TypeError, "call(): missing argument 'function'");
    return nullptr;
  }
  return call_under(as_breaker(self), args[0], args + 1, static_cast<std::size_t>(count) - 1, keywords);
}

PyObject* breaker_state(PyObject* self, void*) {
  if (core_of(self) == nullptr) return nullptr;
  auto* breaker = as_breaker(self);
  if (breaker->core->face() == Face::half_open) {
    Duration now{};
    if (!read_clock(breaker->clock, now)) return nullptr;
    const Face before = breaker->core->face();
    breaker->core->machine.catch_up({now, now});
    tell(breaker, before);
  }
  return PyUnicode_FromString(kFaces[static_cast<std::size_t>(breaker->core->face())]);
}

PyObject* breaker_name(PyObject* self, void*) {
  return core_of(self) == nullptr ? nullptr : Py_NewRef(as_breaker(self)->name);
}

// (calls, failed, slow, refused, enough calls to tell)
PyObject* breaker_counts(PyObject* self, PyObject*) {
  if (core_of(self) == nullptr) return nullptr;
  Duration now{};
  if (!read_clock(as_breaker(self)->clock, now)) return nullptr;
  Breaker& core = *as_breaker(self)->core;
  const OutcomeCounts counts = core.machine.outcomes({now, now});
  const bool tells = core.machine.tells_rates({now, now});
  return Py_BuildValue("(KKKKO)", counts.calls, counts.failed, counts.slow, core.machine.refused(),
                       tells ? Py_True : Py_False);
}

// By hand

template <class Change>
PyObject* change_by_hand(PyObject* self, Change change) {
  if (core_of(self) == nullptr) return nullptr;
  Duration now{};
  if (!read_clock(as_breaker(self)->clock, now)) return nullptr;
  const Face before = as_breaker(self)->core->face();
  const bool done = change(as_breaker(self)->core->machine, Instant{now, now});
  tell(as_breaker(self), before);
  if (done) Py_RETURN_NONE;
  PyErr_SetString(PyExc_RuntimeError, "a closed breaker cannot become half_open");
  return nullptr;
}

PyObject* breaker_open(PyObject* self, PyObject*) {
  return change_by_hand(self,
                        [](CircuitBreaker& machine, Instant now) { return machine.open_now(now), true; });
}
PyObject* breaker_half_open(PyObject* self, PyObject*) {
  return change_by_hand(self,
                        [](CircuitBreaker& machine, Instant now) { return machine.half_open_now(now); });
}
PyObject* breaker_reset(PyObject* self, PyObject*) {
  return change_by_hand(self, [](CircuitBreaker& machine, Instant) { return machine.reset(), true; });
}
PyObject* breaker_force_open(PyObject* self, PyObject*) {
  return change_by_hand(
      self, [](CircuitBreaker& machine, Instant) { return machine.force(BreakerMode::forced_open), true; });
}
PyObject* breaker_force_closed(PyObject* self, PyObject*) {
  return change_by_hand(
      self, [](CircuitBreaker& machine, Instant) { return machine.force(BreakerMode::forced_closed), true; });
}
PyObject* breaker_disable(PyObject* self, PyObject*) {
  return change_by_hand(self, [](CircuitBreaker& machine, Instant) { return machine.disable(), true; });
}

// A `with` block: kept in the context, so that every task and thread leaves its own.
//
// A context may go before its block is left, and a copy of it may leave the block: so a block that is freed says nothing
// of its call, and one that was left may still stand in the chain of another context.

struct BlockObject {
  PyObject base;
  BreakerObject* breaker;
  PyObject* outer;    // the block around it, or None
  std::size_t depth;  // at least the number of blocks of its chain
  Attempt attempt;
  bool left;
};

BlockObject* as_block(PyObject* self) { return reinterpret_cast<BlockObject*>(self); }
bool is_block(PyObject* object) { return object != nullptr && Py_IS_TYPE(object, block_type); }
bool is_left(PyObject* object) { return is_block(object) && as_block(object)->left; }

int block_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(as_block(self)->breaker);
  Py_VISIT(as_block(self)->outer);
  return 0;
}

// Lets a chain go one by one: as long as it is, freeing it must not recurse.
void drop_chain(PyObject* chain) {
  while (is_block(chain) && Py_REFCNT(chain) == 1) {
    PyObject* outer = std::exchange(as_block(chain)->outer, nullptr);
    Py_DECREF(chain);
    chain = outer;
  }
  Py_XDECREF(chain);
}

int block_clear(PyObject* self) {
  drop_chain(std::exchange(as_block(self)->outer, nullptr));
  return 0;
}

void block_free(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  auto* block = as_block(self);
  block_clear(self);
  Py_CLEAR(block->breaker);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

// A new reference: the innermost block of this context, or None.
PyObject* innermost() {
  PyObject* found = nullptr;
  return PyContextVar_Get(open_blocks, Py_None, &found) < 0 ? nullptr : found;
}

bool set_innermost(PyObject* block) {
  PyObject* token = PyContextVar_Set(open_blocks, block);
  Py_XDECREF(token);
  return token != nullptr;
}

// The first of a chain that was not left, or None. Takes the reference and gives one.
PyObject* skip_left(PyObject* chain) {
  while (is_left(chain)) {
    PyObject* outer = as_block(chain)->outer;
    PyObject* next = Py_NewRef(outer != nullptr ? outer : Py_None);
    Py_DECREF(chain);
    chain = next;
  }
  return chain;
}

// Takes what was left out of a whole chain, and counts the rest. What is freed may run Python code, so every step holds
// the block it stands on.
std::size_t prune(PyObject* chain) {
  std::size_t count = 0;
  PyObject* at = Py_NewRef(chain);
  while (is_block(at)) {
    ++count;
    PyObject* outer = as_block(at)->outer;
    PyObject* next = skip_left(Py_NewRef(outer != nullptr ? outer : Py_None));
    PyObject* replaced = std::exchange(as_block(at)->outer, Py_NewRef(next));
    drop_chain(replaced);
    Py_DECREF(at);
    at = next;
  }
  Py_DECREF(at);
  return count;
}

// How deep a block within `outer` is. At each power of two the chain is pruned: what other contexts have left does not
// gather in it, and one of blocks that nobody leaves costs O(1) a block.
std::size_t depth_within(PyObject* outer) {
  if (!is_block(outer)) return 1;
  const std::size_t depth = as_block(outer)->depth + 1;
  return std::has_single_bit(depth) ? prune(outer) + 1 : depth;
}

PyObject* breaker_enter(PyObject* self, PyObject*) {
  if (core_of(self) == nullptr) return nullptr;
  PyObject* outer = innermost();
  if (outer == nullptr) return nullptr;
  outer = skip_left(outer);
  const std::size_t depth = depth_within(outer);
  auto* block = PyObject_GC_New(BlockObject, block_type);
  if (block == nullptr) {
    Py_DECREF(outer);
    return nullptr;
  }
  block->breaker = as_breaker(Py_NewRef(self));
  block->outer = outer;
  block->depth = depth;
  block->attempt = {};
  block->left = true;
  auto* object = reinterpret_cast<PyObject*>(block);
  PyObject_GC_Track(object);
  const bool passed = begin(as_breaker(self), block->attempt);
  block->left = !passed;
  const bool entered = passed && set_innermost(object);
  if (passed && !entered) {
    cancel(as_breaker(self), block->attempt);
    block->left = true;
  }
  Py_DECREF(object);
  return entered ? Py_NewRef(self) : nullptr;
}

// The innermost block of this breaker that was not left yet, with the context put right. A new reference or nullptr.
PyObject* leave_block(PyObject* self) {
  PyObject* top = innermost();
  if (top == nullptr) return nullptr;
  PyObject* found = top;
  while (is_block(found) && (as_block(found)->left || as_object(as_block(found)->breaker) != self))
    found = as_block(found)->outer;
  if (!is_block(found)) {
    Py_DECREF(top);
    return nullptr;
  }
  Py_INCREF(found);
  as_block(found)->left = true;
  PyObject* outer = as_block(found)->outer;  // what of it was left goes when the next block is entered
  if (found == top && outer != nullptr && !set_innermost(outer)) PyErr_Clear();
  Py_DECREF(top);
  return found;
}

PyObject* breaker_exit(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  if (core_of(self) == nullptr) return nullptr;
  if (count != 3) {
    PyErr_SetString(PyExc_TypeError, "__exit__() takes 3 arguments");
    return nullptr;
  }
  auto* breaker = as_breaker(self);
  PyObject* block = leave_block(self);
  if (block == nullptr && PyErr_Occurred() != nullptr) return nullptr;
  // Left in another context than it was entered in: whose it was cannot be told.
  Attempt unnamed{breaker->core->machine.unnamed_permit(), {}};
  Attempt& attempt = block != nullptr ? as_block(block)->attempt : unnamed;
  if (block == nullptr && !read_clock(breaker->clock, attempt.started)) return nullptr;
  const bool raised = args[0] != Py_None;
  report(breaker, attempt, raised ? judge(breaker, args[0], args[1]) : Verdict::success);
  Py_XDECREF(block);
  Py_RETURN_NONE;
}

PyType_Slot block_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(&block_free)},
                             {Py_tp_traverse, reinterpret_cast<void*>(&block_traverse)},
                             {Py_tp_clear, reinterpret_cast<void*>(&block_clear)},
                             {0, nullptr}};

PyType_Spec block_spec = {"sentinel._core._BreakerBlock", sizeof(BlockObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                          block_slots};

// A coroutine under a breaker: send, throw and close go to the coroutine itself, so that no frame is added. It asks the
// breaker when it is first run, as the body of an async function would.

enum class Phase : std::uint8_t { fresh, suspended, running, done };

struct CoroutineObject {
  PyObject base;
  BreakerObject* breaker;
  PyObject* inner;   // what the function returned
  PyObject* driven;  // its iterator, once it runs: `inner` itself if it is a coroutine
  PyObject* weak;
  Attempt attempt;
  Phase phase;
};

CoroutineObject* as_coroutine(PyObject* self) { return reinterpret_cast<CoroutineObject*>(self); }

PyObject* make_coroutine(BreakerObject* breaker, PyObject* inner) {
  auto* made = PyObject_GC_New(CoroutineObject, coroutine_type);
  if (made == nullptr) {
    Py_DECREF(inner);
    return nullptr;
  }
  made->breaker = as_breaker(Py_NewRef(as_object(breaker)));
  made->inner = inner;
  made->driven = nullptr;
  made->weak = nullptr;
  std::construct_at(&made->attempt);
  made->phase = Phase::fresh;
  PyObject_GC_Track(made);
  return reinterpret_cast<PyObject*>(made);
}

int coroutine_traverse(PyObject* self, visitproc visit, void* arg) {
  const auto* coroutine = as_coroutine(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(coroutine->breaker);
  Py_VISIT(coroutine->inner);
  Py_VISIT(coroutine->driven);
  return 0;
}

int coroutine_clear(PyObject* self) {
  auto* coroutine = as_coroutine(self);
  if (coroutine->phase == Phase::suspended) cancel(coroutine->breaker, coroutine->attempt);
  coroutine->phase = Phase::done;
  Py_CLEAR(coroutine->driven);
  Py_CLEAR(coroutine->inner);
  return 0;
}

void coroutine_free(PyObject* self) {
  auto* coroutine = as_coroutine(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (coroutine->weak != nullptr) PyObject_ClearWeakRefs(self);
  coroutine_clear(self);
  Py_CLEAR(coroutine->breaker);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

bool close_inner(PyObject* inner) {
  PyObject* closed = PyObject_CallMethod(inner, "close", nullptr);
  Py_XDECREF(closed);
  return closed != nullptr;
}

// Refused before it ran: a coroutine that is not closed would warn that nobody awaited it.
void discard(CoroutineObject* self) {
  self->phase = Phase::done;
  const PutAside aside;
  if (PyCoro_CheckExact(self->inner) && !close_inner(self->inner)) PyErr_WriteUnraisable(self->inner);
}

PyObject* iterator_of(PyObject* awaitable) {
  if (PyCoro_CheckExact(awaitable)) return Py_NewRef(awaitable);
  PyAsyncMethods* methods = Py_TYPE(awaitable)->tp_as_async;
  if (methods != nullptr && methods->am_await != nullptr) return methods->am_await(awaitable);
  PyErr_Format(PyExc_TypeError, "object %s can't be used in 'await' expression", Py_TYPE(awaitable)->tp_name);
  return nullptr;
}

// It runs from here on: what the clock, a callback or __await__ does with it meanwhile starts it no second time.
bool start(CoroutineObject* self) {
  self->phase = Phase::running;
  self->driven = iterator_of(self->inner);
  if (self->driven == nullptr) {
    self->phase = Phase::done;
    return false;
  }
  if (begin(self->breaker, self->attempt)) return true;
  discard(self);
  return false;
}

bool may_resume(CoroutineObject* self) {
  if (self->phase == Phase::running) {
    PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    return false;
  }
  if (self->phase == Phase::done) {
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return false;
  }
  return true;
}

PySendResult coroutine_send(PyObject* object, PyObject* value, PyObject** result) {
  auto* self = as_coroutine(object);
  *result = nullptr;
  if (!may_resume(self) || (self->phase == Phase::fresh && !start(self))) return PYGEN_ERROR;
  self->phase = Phase::running;
  const PySendResult sent = PyIter_Send(self->driven, value, result);
  if (sent == PYGEN_NEXT) {
    self->phase = Phase::suspended;
    return sent;
  }
  self->phase = Phase::done;
  if (sent == PYGEN_RETURN) {
    succeed(self->breaker, self->attempt);
  } else {
    end_by_error(self->breaker, self->attempt);
  }
  return sent;
}

// As an iterator gives its result: by StopIteration.
PyObject* coroutine_send_method(PyObject* self, PyObject* value) {
  PyObject* result = nullptr;
  const PySendResult sent = coroutine_send(self, value, &result);
  if (sent != PYGEN_RETURN) return result;
  PyObject* stop = PyObject_CallOneArg(PyExc_StopIteration, result);
  Py_DECREF(result);
  if (stop == nullptr) return nullptr;
  PyErr_SetObject(PyExc_StopIteration, stop);
  Py_DECREF(stop);
  return nullptr;
}

PyObject* coroutine_next(PyObject* self) { return coroutine_send_method(self, Py_None); }

PyObject* coroutine_throw(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  auto* self = as_coroutine(object);
  if (!may_resume(self)) return nullptr;
  const bool asked = self->phase == Phase::suspended;
  self->phase = Phase::running;
  PyObject* target = asked ? self->driven : self->inner;
  PyObject* method = PyObject_GetAttrString(target, "throw");
  PyObject* result = method == nullptr
                         ? nullptr
                         : PyObject_Vectorcall(method, args, static_cast<std::size_t>(count), nullptr);
  Py_XDECREF(method);
  if (result != nullptr) {
    if (!asked) self->driven = Py_NewRef(self->inner);
    self->phase = Phase::suspended;
    return result;
  }
  self->phase = Phase::done;
  if (!asked) return nullptr;
  if (PyErr_ExceptionMatches(PyExc_StopIteration)) {  // it returned
    succeed_slowly(self->breaker, self->attempt);
  } else {
    end_by_error(self->breaker, self->attempt);
  }
  return nullptr;
}

PyObject* coroutine_close(PyObject* object, PyObject*) {
  auto* self = as_coroutine(object);
  if (self->phase == Phase::done) Py_RETURN_NONE;
  if (!may_resume(self)) return nullptr;
  const bool asked = self->phase == Phase::suspended;
  self->phase = Phase::done;
  if (asked) cancel(self->breaker, self->attempt);
  if (!close_inner(asked ? self->driven : self->inner)) return nullptr;
  Py_RETURN_NONE;
}

// cr_code, cr_frame, __name__ and the like are those of the coroutine inside.
PyObject* coroutine_getattr(PyObject* self, PyObject* name) {
  PyObject* found = PyObject_GenericGetAttr(self, name);
  if (found != nullptr || as_coroutine(self)->inner == nullptr ||
      !PyErr_ExceptionMatches(PyExc_AttributeError))
    return found;
  PyErr_Clear();
  return PyObject_GetAttr(as_coroutine(self)->inner, name);
}

PyMethodDef coroutine_methods[] = {
    {"send", &coroutine_send_method, METH_O, "send(self, value: object) -> object"},
    {"throw", as_method(&coroutine_throw), METH_FASTCALL, "throw(self, *error: object) -> object"},
    {"close", &coroutine_close, METH_NOARGS, "close(self) -> None"},
    {}};

PyMemberDef coroutine_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CoroutineObject, weak), READONLY, nullptr}, {}};

PyType_Slot coroutine_slots[] = {
    {Py_tp_doc, const_cast<char*>("A coroutine whose end its breaker learns of.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(&coroutine_free)},
    {Py_tp_traverse, reinterpret_cast<void*>(&coroutine_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&coroutine_clear)},
    {Py_tp_iter, reinterpret_cast<void*>(&PyObject_SelfIter)},
    {Py_tp_iternext, reinterpret_cast<void*>(&coroutine_next)},
    {Py_tp_getattro, reinterpret_cast<void*>(&coroutine_getattr)},
    {Py_am_await, reinterpret_cast<void*>(&PyObject_SelfIter)},
    {Py_am_send, reinterpret_cast<void*>(&coroutine_send)},
    {Py_tp_methods, coroutine_methods},
    {Py_tp_members, coroutine_members},
    {0, nullptr}};

PyType_Spec coroutine_spec = {"sentinel._core.GuardedCoroutine", sizeof(CoroutineObject), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                              coroutine_slots};

// A function under a breaker. It binds as a method does.

struct GuardObject {
  PyObject base;
  vectorcallfunc call;
  BreakerObject* breaker;
  PyObject* function;
  PyObject* dict;
  PyObject* weak;
};

GuardObject* as_guard(PyObject* self) { return reinterpret_cast<GuardObject*>(self); }

// Whatever the call does, the function and its breaker live until it ends: the caller holds the guard, but the guard may
// be cleared by a collection meanwhile.
PyObject* guard_call(PyObject* self, PyObject* const* args, std::size_t count, PyObject* keywords) {
  GuardObject* guard = as_guard(self);
  return call_under(guard->breaker, guard->function, args, count, keywords);
}

PyObject* guard_call_async(PyObject* self, PyObject* const* args, std::size_t count, PyObject* keywords) {
  GuardObject* guard = as_guard(self);
  PyObject* inner = PyObject_Vectorcall(guard->function, args, count, keywords);
  return inner == nullptr ? nullptr : make_coroutine(guard->breaker, inner);
}

constexpr Parameters<2> kGuard("guard", {"function", "is_async"}, 2);

PyObject* breaker_guard(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 2> given{};
  if (!kGuard.match(args, count, keywords, given) || core_of(self) == nullptr) return nullptr;
  auto* guard = PyObject_GC_New(GuardObject, guard_type);
  if (guard == nullptr) return nullptr;
  guard->call = given[1] == Py_True ? &guard_call_async : &guard_call;
  guard->breaker = as_breaker(Py_NewRef(self));
  guard->function = Py_NewRef(given[0]);
  guard->dict = nullptr;
  guard->weak = nullptr;
  PyObject_GC_Track(guard);
  return reinterpret_cast<PyObject*>(guard);
}

int guard_traverse(PyObject* self, visitproc visit, void* arg) {
  const GuardObject* guard = as_guard(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(guard->breaker);
  Py_VISIT(guard->function);
  Py_VISIT(guard->dict);
  return 0;
}

void guard_free(PyObject* self) {
  GuardObject* guard = as_guard(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (guard->weak != nullptr) PyObject_ClearWeakRefs(self);
  Py_CLEAR(guard->dict);
  Py_CLEAR(guard->function);
  Py_CLEAR(guard->breaker);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

// What keeps a cycle alive goes: the dict holds the function too.
int guard_clear(PyObject* self) {
  Py_CLEAR(as_guard(self)->dict);
  return 0;
}

PyObject* guard_bind(PyObject* self, PyObject* object, PyObject*) {
  return object == nullptr || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

PyMemberDef guard_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(GuardObject, call), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(GuardObject, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(GuardObject, weak), READONLY, nullptr},
    {}};

PyGetSetDef guard_attributes[] = {
    {"__dict__", &PyObject_GenericGetDict, &PyObject_GenericSetDict, nullptr, nullptr}, {}};

PyType_Slot guard_slots[] = {{Py_tp_doc, const_cast<char*>("A function whose calls its breaker watches.")},
                             {Py_tp_dealloc, reinterpret_cast<void*>(&guard_free)},
                             {Py_tp_traverse, reinterpret_cast<void*>(&guard_traverse)},
                             {Py_tp_clear, reinterpret_cast<void*>(&guard_clear)},
                             {Py_tp_call, reinterpret_cast<void*>(&PyVectorcall_Call)},
                             {Py_tp_descr_get, reinterpret_cast<void*>(&guard_bind)},
                             {Py_tp_members, guard_members},
                             {Py_tp_getset, guard_attributes},
                             {0, nullptr}};

PyType_Spec guard_spec = {"sentinel._core.GuardedFunction", sizeof(GuardObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                              Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                          guard_slots};

// __init__ is a method, not a slot: so its signature stands in the stubs. Only the Python class calls it.
PyMethodDef breaker_methods[] = {
    {"__init__", as_method(&breaker_init), METH_VARARGS | METH_KEYWORDS,
     "__init__(self, *, name: str, failure_rate_percent: int, slow_rate_percent: int, slow_seconds: float, "
     "by_time: bool, window_calls: int, window_seconds: float, window_buckets: int, minimum_calls: int, "
     "wait_seconds: float, wait_factor: int, longest_wait_seconds: float, jitter_percent: int, probes: int, "
     "probe_seconds: float, half_open_seconds: float, recorded: object, ignored: object, clock: object, "
     "on_change: object, open_error: type, seed: int) -> None"},
    {"allow", &breaker_allow, METH_NOARGS, "allow(self) -> bool\n\nWhether a call may pass now."},
    {"record_success", as_method(&breaker_success), METH_FASTCALL | METH_KEYWORDS,
     "record_success(self, seconds: float = 0.0) -> None\n\nA call that allow() let pass went well."},
    {"record_failure", as_method(&breaker_failure), METH_FASTCALL | METH_KEYWORDS,
     "record_failure(self, seconds: float = 0.0) -> None\n\nA call that allow() let pass failed."},
    {"cancel", &breaker_cancel, METH_NOARGS,
     "cancel(self) -> None\n\nA call that allow() let pass says nothing: its permit comes back."},
    {"call", as_method(&breaker_call), METH_FASTCALL | METH_KEYWORDS,
     "call(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any\n\nCalls a function under the "
     "breaker."},
    {"guard", as_method(&breaker_guard), METH_FASTCALL | METH_KEYWORDS,
     "guard(self, function: object, is_async: bool) -> typing.Any\n\nThe function with all its calls "
     "watched."},
    {"counts", &breaker_counts, METH_NOARGS,
     "counts(self) -> tuple[int, int, int, int, bool]\n\nCalls, failed, slow, refused; whether the calls "
     "suffice."},
    {"open", &breaker_open, METH_NOARGS, "open(self) -> None\n\nOpens it by hand, with its usual wait."},
    {"half_open", &breaker_half_open, METH_NOARGS, "half_open(self) -> None\n\nLets probes pass now."},
    {"reset", &breaker_reset, METH_NOARGS, "reset(self) -> None\n\nCloses it, as new."},
    {"force_open", &breaker_force_open, METH_NOARGS,
     "force_open(self) -> None\n\nRefuses all, until told otherwise."},
    {"force_closed", &breaker_force_closed, METH_NOARGS,
     "force_closed(self) -> None\n\nLets all pass and counts, until told otherwise."},
    {"disable", &breaker_disable, METH_NOARGS, "disable(self) -> None\n\nLets all pass and counts nothing."},
    {"__enter__", &breaker_enter, METH_NOARGS, "__enter__(self) -> typing.Self"},
    {"__exit__", as_method(&breaker_exit), METH_FASTCALL, "__exit__(self, *error: object) -> None"},
    {}};

PyGetSetDef breaker_attributes[] = {
    {"state", &breaker_state, nullptr, "closed, half_open, open, forced_open, forced_closed or disabled.",
     nullptr},
    {"name", &breaker_name, nullptr, "What refusals call it.", nullptr},
    {}};

PyType_Slot breaker_slots[] = {{Py_tp_doc, const_cast<char*>("A circuit breaker. See sentinel.resilience.")},
                               {Py_tp_dealloc, reinterpret_cast<void*>(&breaker_free)},
                               {Py_tp_traverse, reinterpret_cast<void*>(&breaker_traverse)},
                               {Py_tp_clear, reinterpret_cast<void*>(&breaker_clear)},
                               {Py_tp_methods, breaker_methods},
                               {Py_tp_getset, breaker_attributes},
                               {0, nullptr}};

PyType_Spec breaker_spec = {"sentinel._core.CircuitBreaker", sizeof(BreakerObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, breaker_slots};

}  // namespace

void bind_circuit_breaker(py::module_& module) {
  breaker_type = add_type(module, breaker_spec);
  guard_type = add_type(module, guard_spec);
  coroutine_type = add_type(module, coroutine_spec);
  block_type = add_type(module, block_spec);
  open_blocks = PyContextVar_New("sentinel.resilience.open_blocks", nullptr);
  if (open_blocks == nullptr) throw py::error_already_set();
}

}  // namespace sentinel::bindings
