// The rate limiter and the token bucket for Python: raw heap types, since a decision costs less than pybind11's dispatch.
//
// A RateLimiter owns a LimitTable of one shard (every call holds the interpreter lock, and one shard keeps max_keys to the
// letter). A Decision holds what is used of each rule, as the table gave it; what is left and when it is full again is
// computed when asked for. Decisions and reservations outlive their limiter: they share its Plan.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/clock.hpp"
#include "bindings/fast_type.hpp"
#include "sentinel/limit/gcra.hpp"
#include "sentinel/limit/headroom.hpp"
#include "sentinel/limit/limit_table.hpp"
#include "sentinel/limit/rate.hpp"

namespace py = pybind11;

namespace sentinel::bindings {
namespace {

using limit::Cause;
using limit::Ending;
using limit::Gcra;
using limit::Int128;
using limit::Kind;
using limit::LimitTable;
using limit::Mode;
using limit::Rate;
using limit::Rule;
using limit::Slots;
using limit::Taken;
using limit::View;
using limit::Want;

constexpr std::size_t kKinds = 4;
constexpr std::array<const char*, kKinds> kUnits = {"requests", "tokens", "micro_usd",
                                                    "concurrency"};  // by Kind
constexpr std::size_t kCosted = 3;  // what a caller gives costs of: the first three

PyTypeObject* decision_type = nullptr;
PyTypeObject* reservation_type = nullptr;

constexpr std::size_t index_of(Kind kind) { return static_cast<std::size_t>(kind); }

double to_seconds(Duration duration) { return static_cast<double>(duration.count()) / 1e6; }

Duration from_seconds(double seconds) {
  Duration duration{};
  if (!to_duration(seconds, duration)) throw py::error_already_set();
  return duration;
}

// Costs

using Costs = std::array<std::int64_t, kCosted>;

bool whole(PyObject* value, const char* what, const char* unit, std::int64_t& out) {
  const char* dot = *unit == '\0' ? "" : ".";
  if (!PyLong_Check(value)) {
    PyErr_Format(PyExc_TypeError, "%s%s%s must be a whole number, not %s", what, dot, unit,
                 Py_TYPE(value)->tp_name);
    return false;
  }
  int overflow = 0;
  out = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow != 0 || out < 0 || out > limit::kMaxAmount) {
    PyErr_Format(PyExc_ValueError, "%s%s%s must be 0 to 10**15, not %S", what, dot, unit, value);
    return false;
  }
  return true;
}

// What all decisions of a limiter share. Counted by hand, under the interpreter lock.
struct Plan {
  std::vector<Rule> rules;
  std::array<bool, kKinds> has{};
  PyObject* headroom = nullptr;  // the class of views
  std::size_t users = 1;

  std::size_t costed() const {  // how many units a cost must name
    return (has[index_of(Kind::tokens)] ? 1U : 0U) + (has[index_of(Kind::money)] ? 1U : 0U);
  }
  // Whether what passes is held until an end.
  bool holds() const { return costed() > 0 || has[index_of(Kind::concurrency)]; }
};

void drop(Plan* plan) {
  if (plan == nullptr || --plan->users > 0) return;
  Py_XDECREF(plan->headroom);
  delete plan;
}

// Without dict's own methods: a subclass may override them.
bool read_named(const Plan& plan, const py::dict& given, const char* what, Costs& out) {
  std::optional<std::string> unknown;
  for (const auto& [name, value] : given) {
    const auto known =
        std::find_if(kUnits.begin(), kUnits.begin() + kCosted, [&name = name](const char* unit) {
          return PyUnicode_Check(name.ptr()) && PyUnicode_CompareWithASCIIString(name.ptr(), unit) == 0;
        });
    if (known != kUnits.begin() + kCosted) continue;
    auto text = py::repr(name).cast<std::string>();
    if (!unknown || text < *unknown) unknown = std::move(text);
  }
  if (unknown) throw py::value_error(std::string(what) + ": no such unit " + *unknown);
  for (const Kind kind : {Kind::money, Kind::tokens}) {
    const char* unit = kUnits[index_of(kind)];
    if (plan.has[index_of(kind)] && !given.contains(unit))
      throw py::value_error(std::string(what) + ": " + unit + " is missing, and there is a rule for it");
  }
  for (std::size_t i = 0; i < kCosted; ++i) {
    if (!given.contains(kUnits[i])) continue;
    const py::object value = given[kUnits[i]];
    if (!whole(value.ptr(), what, kUnits[i], out[i])) return false;
  }
  return true;
}

bool is_mapping(PyObject* value) {
  return py::isinstance(value, py::module_::import("collections.abc").attr("Mapping"));
}

bool read_mapping(const Plan& plan, PyObject* cost, const char* what, Costs& out) {
  try {
    if (!PyDict_Check(cost) && !is_mapping(cost)) {
      std::int64_t unused = 0;
      return whole(cost, what, "", unused);
    }
    return read_named(plan, py::dict(py::reinterpret_borrow<py::object>(cost)), what, out);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::value_error& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return false;
}

// A number is meant in the one unit that has rules beside requests. No cost is 1.
bool read_costs(const Plan& plan, PyObject* cost, const char* what, Costs& out) {
  out = {1, 0, 0};
  if (cost != nullptr && !PyLong_Check(cost)) return read_mapping(plan, cost, what, out);
  std::int64_t value = 1;
  if (cost != nullptr && !whole(cost, what, "", value)) return false;
  const std::size_t costed = plan.costed();
  if (costed > 1) {
    PyErr_Format(PyExc_ValueError, "%s must name its units: {'tokens': ..., 'micro_usd': ...}", what);
    return false;
  }
  const bool tokens = plan.has[index_of(Kind::tokens)];
  out[index_of(costed == 0 ? Kind::requests : tokens ? Kind::tokens : Kind::money)] = value;
  return true;
}

// Reservations

struct ReservationObject {
  PyObject base;
  Plan* plan;
  std::uint64_t id;
};

PyObject* make_reservation(Plan* plan, std::uint64_t id) {
  auto* made = PyObject_New(ReservationObject, reservation_type);
  if (made == nullptr) return nullptr;
  ++plan->users;
  made->plan = plan;
  made->id = id;
  return reinterpret_cast<PyObject*>(made);
}

void free_reservation(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  drop(reinterpret_cast<ReservationObject*>(self)->plan);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* reservation_id(PyObject* self, void*) {
  return PyLong_FromUnsignedLongLong(reinterpret_cast<ReservationObject*>(self)->id);
}

PyObject* reservation_repr(PyObject* self) {
  return PyUnicode_FromFormat("Reservation(id=%llu)", reinterpret_cast<ReservationObject*>(self)->id);
}

Py_hash_t reservation_hash(PyObject* self) {
  const auto* reservation = reinterpret_cast<ReservationObject*>(self);
  const auto hash = static_cast<Py_hash_t>(reservation->id * 0x9e3779b97f4a7c15U ^
                                           reinterpret_cast<std::uintptr_t>(reservation->plan));
  return hash == -1 ? -2 : hash;
}

PyObject* reservation_compare(PyObject* self, PyObject* other, int operation) {
  if (!Py_IS_TYPE(other, reservation_type) || (operation != Py_EQ && operation != Py_NE))
    Py_RETURN_NOTIMPLEMENTED;
  const auto* left = reinterpret_cast<ReservationObject*>(self);
  const auto* right = reinterpret_cast<ReservationObject*>(other);
  const bool equal = left->id == right->id && left->plan == right->plan;
  return PyBool_FromLong(equal == (operation == Py_EQ) ? 1 : 0);
}

PyGetSetDef reservation_members[] = {
    {"id", &reservation_id, nullptr, "Its number, of this limiter.", nullptr}, {}};

PyType_Slot reservation_slots[] = {
    {Py_tp_doc, const_cast<char*>("A name for what was taken, good for one settle, release or refund.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(&free_reservation)},
    {Py_tp_repr, reinterpret_cast<void*>(&reservation_repr)},
    {Py_tp_hash, reinterpret_cast<void*>(&reservation_hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(&reservation_compare)},
    {Py_tp_getset, reservation_members},
    {0, nullptr}};

PyType_Spec reservation_spec = {
    "sentinel._core.Reservation", sizeof(ReservationObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, reservation_slots};

// Decisions

struct Used {  // an Int128 that needs no alignment of 16
  std::uint64_t low;
  std::int64_t high;

  static Used of(Int128 value) {
    return {static_cast<std::uint64_t>(value), static_cast<std::int64_t>(value >> 64U)};
  }
  Int128 value() const { return (Int128{high} << 64U) | Int128{low}; }
};

struct DecisionObject {
  PyVarObject base;
  Plan* plan;
  std::uint64_t reservation;  // 0: none
  std::int64_t retry_after;   // microseconds
  bool allowed;
  bool never;
  Used used[1];  // one for each rule, or none where the table had no room
};

constexpr Py_ssize_t kDecisionBytes = static_cast<Py_ssize_t>(sizeof(DecisionObject) - sizeof(Used));

DecisionObject* as_decision(PyObject* self) { return reinterpret_cast<DecisionObject*>(self); }

PyObject* make_decision(Plan* plan, const Taken& taken, const Int128* used) {
  const std::size_t count = taken.visited ? plan->rules.size() : 0;
  auto* made = PyObject_NewVar(DecisionObject, decision_type, static_cast<Py_ssize_t>(count));
  if (made == nullptr) return nullptr;
  ++plan->users;
  made->plan = plan;
  made->reservation = taken.reservation.id;
  made->retry_after = taken.passed ? 0 : taken.retry_after.count();
  made->allowed = taken.passed;
  made->never = !taken.passed && taken.cause == Cause::never;
  for (std::size_t i = 0; i < count; ++i) made->used[i] = Used::of(used[i]);
  return reinterpret_cast<PyObject*>(made);
}

void free_decision(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  drop(as_decision(self)->plan);
  PyObject_Free(self);
  Py_DECREF(type);
}

// The rule of one kind with the least left.
std::optional<View> tightest(const DecisionObject& decision, Kind kind) {
  std::optional<View> found;
  if (Py_SIZE(&decision) == 0) return found;
  for (std::size_t i = 0; i < decision.plan->rules.size(); ++i) {
    const Rule& rule = decision.plan->rules[i];
    if (kind_of(rule) != kind) continue;
    const View view = view_of(rule, decision.used[i].value());
    if (!found || tighter(view, *found)) found = view;
  }
  return found;
}

PyObject* decision_allowed(PyObject* self, void*) {
  return PyBool_FromLong(as_decision(self)->allowed ? 1 : 0);
}

int decision_bool(PyObject* self) { return as_decision(self)->allowed ? 1 : 0; }

PyObject* decision_remaining(PyObject* self, void*) {
  for (const Kind kind : {Kind::requests, Kind::tokens, Kind::money, Kind::concurrency})
    if (const auto view = tightest(*as_decision(self), kind)) return PyLong_FromLongLong(view->remaining);
  return PyLong_FromLong(0);
}

PyObject* decision_retry(PyObject* self, void*) {
  const auto* decision = as_decision(self);
  if (decision->never) Py_RETURN_NONE;
  return PyFloat_FromDouble(to_seconds(Duration{decision->retry_after}));
}

PyObject* decision_reservation(PyObject* self, void*) {
  const auto* decision = as_decision(self);
  if (decision->reservation == 0) Py_RETURN_NONE;
  return make_reservation(decision->plan, decision->reservation);
}

PyObject* decision_view(PyObject* self, void* kind) {
  const auto* decision = as_decision(self);
  const auto view = tightest(*decision, *static_cast<const Kind*>(kind));
  if (!view) Py_RETURN_NONE;
  return PyObject_CallFunction(decision->plan->headroom, "LLd", static_cast<long long>(view->limit),
                               static_cast<long long>(view->remaining), to_seconds(view->reset));
}

py::dict headers_of(const DecisionObject& decision) {
  py::dict told;
  for (const Kind kind : {Kind::requests, Kind::tokens}) {
    const auto view = tightest(decision, kind);
    if (!view) continue;
    const std::string unit = kUnits[index_of(kind)];
    told[py::str("x-ratelimit-limit-" + unit)] = std::to_string(view->limit);
    told[py::str("x-ratelimit-remaining-" + unit)] = std::to_string(view->remaining);
    told[py::str("x-ratelimit-reset-" + unit)] = limit::format_duration(view->reset);
  }
  const Duration wait{decision.retry_after};
  if (!decision.never && wait > Duration{0})
    told["Retry-After"] = std::to_string(limit::retry_after_seconds(wait));
  return told;
}

PyObject* decision_headers(PyObject* self, PyObject*) {
  try {
    return headers_of(*as_decision(self)).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
  }
}

PyObject* decision_repr(PyObject* self) {
  PyObject* remaining = decision_remaining(self, nullptr);
  PyObject* retry = decision_retry(self, nullptr);
  PyObject* text = nullptr;
  if (remaining != nullptr && retry != nullptr) {
    text = PyUnicode_FromFormat("Decision(allowed=%s, remaining=%R, retry_after_seconds=%R)",
                                as_decision(self)->allowed ? "True" : "False", remaining, retry);
  }
  Py_XDECREF(remaining);
  Py_XDECREF(retry);
  return text;
}

Kind view_kinds[kKinds] = {Kind::requests, Kind::tokens, Kind::money, Kind::concurrency};

PyGetSetDef decision_members[] = {
    {"allowed", &decision_allowed, nullptr, "Whether the call may pass.", nullptr},
    {"remaining", &decision_remaining, nullptr, "What is left.", nullptr},
    {"retry_after_seconds", &decision_retry, nullptr, "0 if it passed, None if it never can.", nullptr},
    {"reservation", &decision_reservation, nullptr, "For settle, release and refund.", nullptr},
    {"requests", &decision_view, nullptr, "The rule of requests with the least left.", &view_kinds[0]},
    {"tokens", &decision_view, nullptr, "The rule of tokens with the least left.", &view_kinds[1]},
    {"micro_usd", &decision_view, nullptr, "The rule of money with the least left.", &view_kinds[2]},
    {"concurrency", &decision_view, nullptr, "The places of calls under way.", &view_kinds[3]},
    {}};

PyMethodDef decision_methods[] = {{"headers", &decision_headers, METH_NOARGS,
                                   "headers(self) -> dict[str, str]\n\n"
                                   "x-ratelimit-* of requests and tokens, and Retry-After if waiting helps."},
                                  {}};

PyType_Slot decision_slots[] = {{Py_tp_doc, const_cast<char*>("Whether a call may pass; truthy if it may.")},
                                {Py_tp_dealloc, reinterpret_cast<void*>(&free_decision)},
                                {Py_tp_repr, reinterpret_cast<void*>(&decision_repr)},
                                {Py_tp_getset, decision_members},
                                {Py_tp_methods, decision_methods},
                                {Py_nb_bool, reinterpret_cast<void*>(&decision_bool)},
                                {0, nullptr}};

PyType_Spec decision_spec = {
    "sentinel._core.Decision", static_cast<int>(kDecisionBytes), sizeof(Used),
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, decision_slots};

// The limiter

struct Limiter {
  Plan* plan;
  LimitTable table;
  std::vector<Want> wants;  // of the call under way: no Python code runs while they are in use
  Mode mode;

  Limiter(Plan* made, limit::Bounds bounds, std::uint64_t seed)
      : plan(made), table(bounds, seed), mode(made->holds() ? Mode::reserve : Mode::charge) {
    for (const Rule& rule : plan->rules) wants.push_back({{}, rule, 1});
  }
  ~Limiter() { drop(plan); }
  Limiter(const Limiter&) = delete;
  Limiter& operator=(const Limiter&) = delete;
};

struct LimiterObject {
  PyObject base;
  Limiter* core;
  PyObject* clock;  // nullptr: time.monotonic
};

LimiterObject* as_limiter(PyObject* self) { return reinterpret_cast<LimiterObject*>(self); }

Limiter* core_of(PyObject* self) {
  Limiter* core = as_limiter(self)->core;
  if (core == nullptr) PyErr_SetString(PyExc_RuntimeError, "the limiter was not initialised");
  return core;
}

// As RateLimiter.__init__ has checked them.
struct LimiterArguments {
  PyObject* rates = nullptr;  // a tuple of Rate
  long long concurrency = 0;  // 0: none
  PyObject* clock = nullptr;
  long long max_keys = 0;
  double hold_seconds = 0;
  unsigned long long seed = 0;
  PyObject* headroom = nullptr;
};

std::unique_ptr<Limiter> make_limiter(const LimiterArguments& given) {
  constexpr std::size_t kMostHeld = 65'536;
  auto plan = std::make_unique<Plan>();
  for (const py::handle rate : py::reinterpret_borrow<py::tuple>(given.rates))
    plan->rules.emplace_back(rate.cast<Rate>());
  if (given.concurrency > 0) plan->rules.emplace_back(Slots{given.concurrency});
  if (plan->rules.size() > limit::kMaxWants) throw py::value_error("too many rules");
  for (const Rule& rule : plan->rules) plan->has[index_of(kind_of(rule))] = true;
  limit::Bounds bounds;
  bounds.max_buckets = static_cast<std::size_t>(given.max_keys) * plan->rules.size();
  bounds.max_reservations = kMostHeld;
  bounds.reservation_ttl = from_seconds(given.hold_seconds);
  bounds.shards = 1;
  plan->headroom = Py_NewRef(given.headroom);
  return std::make_unique<Limiter>(plan.release(), bounds, given.seed);
}

PyObject* limiter_init(PyObject* self, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"rates",        "concurrency", "clock",    "max_keys",
                                "hold_seconds", "seed",        "headroom", nullptr};
  LimiterArguments given;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!LOLdKO", const_cast<char**>(names), &PyTuple_Type,
                                   &given.rates, &given.concurrency, &given.clock, &given.max_keys,
                                   &given.hold_seconds, &given.seed, &given.headroom))
    return nullptr;
  auto* limiter = as_limiter(self);
  if (limiter->core != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a limiter is initialised once");
    return nullptr;
  }
  try {
    limiter->core = make_limiter(given).release();
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
    return nullptr;
  }
  limiter->clock = given.clock == Py_None ? nullptr : Py_NewRef(given.clock);
  Py_RETURN_NONE;
}

// Any str is a key; one with lone surrogates has no UTF-8 and is encoded aside.
struct Key {
  std::string_view bytes;
  PyObject* owner = nullptr;

  Key() = default;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { Py_XDECREF(owner); }

  bool read(PyObject* key) {
    if (!PyUnicode_Check(key)) {
      PyErr_Format(PyExc_TypeError, "key must be str, not %s", Py_TYPE(key)->tp_name);
      return false;
    }
    Py_ssize_t size = 0;
    if (const char* text = PyUnicode_AsUTF8AndSize(key, &size)) {
      bytes = {text, static_cast<std::size_t>(size)};
      return true;
    }
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return false;
    PyErr_Clear();
    owner = PyUnicode_AsEncodedString(key, "utf-8", "surrogatepass");
    if (owner == nullptr) return false;
    bytes = {PyBytes_AS_STRING(owner), static_cast<std::size_t>(PyBytes_GET_SIZE(owner))};
    return true;
  }
};

constexpr Parameters<3> kAcquire("acquire", {"key", "cost", "now"}, 1);

PyObject* limiter_acquire(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 3> given{};
  if (!kAcquire.match(args, count, keywords, given)) return nullptr;
  Limiter* core = core_of(self);
  if (core == nullptr) return nullptr;
  Key key;
  if (!key.read(given[0])) return nullptr;
  Costs costs;
  if (!read_costs(*core->plan, given[1], "cost", costs)) return nullptr;
  Duration now{};
  if (!read_now(given[2], as_limiter(self)->clock, now)) return nullptr;
  for (Want& want : core->wants) {
    const std::size_t kind = index_of(kind_of(want.rule));
    want.id = key.bytes;
    want.cost = kind < kCosted ? costs[kind] : 1;
  }
  std::array<Int128, limit::kMaxWants> used;
  const Taken taken = core->table.take(core->wants, core->mode, {now, now}, used);
  return make_decision(core->plan, taken, used.data());
}

// A reservation of this limiter, or an exception.
const ReservationObject* own(PyObject* reservation, const Limiter& core) {
  if (!Py_IS_TYPE(reservation, reservation_type)) {
    PyErr_Format(PyExc_TypeError, "reservation must be a Reservation, not %s", Py_TYPE(reservation)->tp_name);
    return nullptr;
  }
  const auto* mine = reinterpret_cast<ReservationObject*>(reservation);
  if (mine->plan == core.plan) return mine;
  PyErr_SetString(PyExc_ValueError, "this reservation is another limiter's");
  return nullptr;
}

constexpr Parameters<3> kSettle("settle", {"reservation", "actual", "now"}, 2);

PyObject* limiter_settle(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 3> given{};
  if (!kSettle.match(args, count, keywords, given)) return nullptr;
  if (core_of(self) == nullptr) return nullptr;
  Costs used;
  if (!read_costs(*core_of(self)->plan, given[1], "actual", used)) return nullptr;
  Duration now{};
  if (!read_now(given[2], as_limiter(self)->clock, now)) return nullptr;
  Limiter& core = *as_limiter(self)->core;
  const ReservationObject* reservation = own(given[0], core);
  if (reservation == nullptr) return nullptr;
  const limit::Actual actual{used[index_of(Kind::tokens)], used[index_of(Kind::money)]};
  return PyBool_FromLong(core.table.settle({reservation->id, {}}, actual, {now, now}) == Ending::done ? 1
                                                                                                      : 0);
}

using End = Ending (LimitTable::*)(limit::Reservation, Instant);

PyObject* end_reservation(PyObject* self, const std::array<PyObject*, 2>& given, End end) {
  if (core_of(self) == nullptr) return nullptr;
  Duration now{};
  if (!read_now(given[1], as_limiter(self)->clock, now)) return nullptr;
  Limiter& core = *as_limiter(self)->core;
  const ReservationObject* reservation = own(given[0], core);
  if (reservation == nullptr) return nullptr;
  return PyBool_FromLong((core.table.*end)({reservation->id, {}}, {now, now}) == Ending::done ? 1 : 0);
}

constexpr Parameters<2> kRefund("refund", {"reservation", "now"}, 1);
constexpr Parameters<2> kRelease("release", {"reservation", "now"}, 1);

PyObject* limiter_refund(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 2> given{};
  return kRefund.match(args, count, keywords, given) ? end_reservation(self, given, &LimitTable::refund)
                                                     : nullptr;
}

PyObject* limiter_release(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 2> given{};
  return kRelease.match(args, count, keywords, given) ? end_reservation(self, given, &LimitTable::release)
                                                      : nullptr;
}

int limiter_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(as_limiter(self)->clock);
  return 0;
}

int limiter_clear(PyObject* self) {
  Py_CLEAR(as_limiter(self)->clock);
  return 0;
}

void limiter_free(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  limiter_clear(self);
  delete as_limiter(self)->core;
  type->tp_free(self);
  Py_DECREF(type);
}

// __init__ is a method, not a slot: so its signature stands in the stubs. Only the Python classes call it.
PyMethodDef limiter_methods[] = {
    {"__init__", as_method(&limiter_init), METH_VARARGS | METH_KEYWORDS,
     "__init__(self, *, rates: tuple[Rate, ...], concurrency: int, clock: object, max_keys: int, "
     "hold_seconds: float, "
     "seed: int, headroom: type) -> None"},
    {"acquire", as_method(&limiter_acquire), METH_FASTCALL | METH_KEYWORDS,
     "acquire(self, key: str, cost: typing.Any = 1, now: float | None = None) -> typing.Any\n\n"
     "Takes the cost for the key now, if every rule allows it."},
    {"settle", as_method(&limiter_settle), METH_FASTCALL | METH_KEYWORDS,
     "settle(self, reservation: typing.Any, actual: typing.Any, now: float | None = None) -> bool\n\n"
     "What was really used takes the place of what was held; False if the reservation has ended before."},
    {"release", as_method(&limiter_release), METH_FASTCALL | METH_KEYWORDS,
     "release(self, reservation: typing.Any, now: float | None = None) -> bool\n\n"
     "What was held was used; False if the reservation has ended before."},
    {"refund", as_method(&limiter_refund), METH_FASTCALL | METH_KEYWORDS,
     "refund(self, reservation: typing.Any, now: float | None = None) -> bool\n\n"
     "Everything comes back; False if the reservation has ended before."},
    {}};

PyType_Slot limiter_slots[] = {
    {Py_tp_doc, const_cast<char*>("Buckets by key, for some rules. See sentinel.limits.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(&limiter_free)},
    {Py_tp_traverse, reinterpret_cast<void*>(&limiter_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&limiter_clear)},
    {Py_tp_methods, limiter_methods},
    {0, nullptr}};

PyType_Spec limiter_spec = {"sentinel._core.RateLimiter", sizeof(LimiterObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, limiter_slots};

// The token bucket

struct Bucket {
  Rate rate;
  Gcra gcra;
};

struct BucketObject {
  PyObject base;
  Bucket* core;
  PyObject* clock;  // nullptr: time.monotonic
};

BucketObject* as_bucket(PyObject* self) { return reinterpret_cast<BucketObject*>(self); }

PyObject* bucket_init(PyObject* self, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"amount", "period_microseconds", "burst", "clock", nullptr};
  long long amount = 0;
  long long period = 0;
  long long burst = 0;
  PyObject* clock = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "LLLO", const_cast<char**>(names), &amount, &period,
                                   &burst, &clock))
    return nullptr;
  const auto rate = Rate::make(Kind::requests, amount, Duration{period}, burst);
  if (!rate) {
    PyErr_SetString(PyExc_ValueError, rate.error().message.c_str());
    return nullptr;
  }
  auto* bucket = as_bucket(self);
  if (bucket->core != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a bucket is initialised once");
    return nullptr;
  }
  bucket->core = new Bucket{*rate, {}};
  bucket->clock = clock == Py_None ? nullptr : Py_NewRef(clock);
  Py_RETURN_NONE;
}

struct Ask {
  std::int64_t cost = 1;
  Duration now{};
};

bool read_ask(PyObject* self, PyObject* cost, PyObject* now, Ask& ask) {
  if (as_bucket(self)->core == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "the bucket was not initialised");
    return false;
  }
  return (cost == nullptr || whole(cost, "cost", "", ask.cost)) &&
         read_now(now, as_bucket(self)->clock, ask.now);
}

constexpr Parameters<2> kTryAcquire("try_acquire", {"cost", "now"}, 0);

PyObject* bucket_try_acquire(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 2> given{};
  Ask ask;
  if (!kTryAcquire.match(args, count, keywords, given) || !read_ask(self, given[0], given[1], ask))
    return nullptr;
  Bucket* bucket = as_bucket(self)->core;
  if (!admits(bucket->gcra, bucket->rate, ask.now, ask.cost)) Py_RETURN_FALSE;
  charge(bucket->gcra, bucket->rate, ask.now, ask.cost);
  Py_RETURN_TRUE;
}

constexpr Parameters<1> kRemaining("remaining", {"now"}, 0);

PyObject* bucket_remaining(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 1> given{};
  Ask ask;
  if (!kRemaining.match(args, count, keywords, given) || !read_ask(self, nullptr, given[0], ask))
    return nullptr;
  const Bucket* bucket = as_bucket(self)->core;
  return PyLong_FromLongLong(remaining_after(used_at(bucket->gcra, bucket->rate, ask.now), bucket->rate));
}

constexpr Parameters<2> kRetryAfter("retry_after_seconds", {"cost", "now"}, 0);

PyObject* bucket_retry_after(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
  std::array<PyObject*, 2> given{};
  Ask ask;
  if (!kRetryAfter.match(args, count, keywords, given) || !read_ask(self, given[0], given[1], ask))
    return nullptr;
  const Bucket* bucket = as_bucket(self)->core;
  const auto decision = decide(bucket->gcra, bucket->rate, ask.now, ask.cost);
  if (decision.verdict == limit::Verdict::never) Py_RETURN_NONE;
  return PyFloat_FromDouble(to_seconds(decision.retry_after));
}

int bucket_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(as_bucket(self)->clock);
  return 0;
}

int bucket_clear(PyObject* self) {
  Py_CLEAR(as_bucket(self)->clock);
  return 0;
}

void bucket_free(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  bucket_clear(self);
  delete as_bucket(self)->core;
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef bucket_methods[] = {
    {"__init__", as_method(&bucket_init), METH_VARARGS | METH_KEYWORDS,
     "__init__(self, *, amount: int, period_microseconds: int, burst: int, clock: object) -> None"},
    {"try_acquire", as_method(&bucket_try_acquire), METH_FASTCALL | METH_KEYWORDS,
     "try_acquire(self, cost: int = 1, now: float | None = None) -> bool\n\n"
     "Takes cost now, or nothing: whether it did."},
    {"remaining", as_method(&bucket_remaining), METH_FASTCALL | METH_KEYWORDS,
     "remaining(self, now: float | None = None) -> int\n\nWhat could be taken now."},
    {"retry_after_seconds", as_method(&bucket_retry_after), METH_FASTCALL | METH_KEYWORDS,
     "retry_after_seconds(self, cost: int = 1, now: float | None = None) -> float | None\n\n"
     "When cost could be taken: 0.0 is now; None is never, for it is above the burst. Takes nothing."},
    {}};

PyType_Slot bucket_slots[] = {
    {Py_tp_doc, const_cast<char*>("One bucket of whole units. See sentinel.limits.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(&bucket_free)},
    {Py_tp_traverse, reinterpret_cast<void*>(&bucket_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&bucket_clear)},
    {Py_tp_methods, bucket_methods},
    {0, nullptr}};

PyType_Spec bucket_spec = {"sentinel._core.TokenBucket", sizeof(BucketObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, bucket_slots};

Rate parse(std::string_view text) {
  auto rate = Rate::parse(text);
  if (rate) return *rate;
  PyErr_SetObject(PyExc_ValueError, py::str(rate.error().message).ptr());  // whole: the text may hold a NUL
  throw py::error_already_set();
}

}  // namespace

// No call here takes longer than giving the GIL back would: all keep it.
void bind_limit(py::module_& module) {
  py::class_<Rate>(module, "Rate", "What a rule allows, as \"100/min\" or \"5 usd/day burst 1\".")
      .def(py::init(&parse), py::arg("text"))
      .def_property_readonly("kind", [](const Rate& rate) { return limit::name_of(rate.kind()); })
      .def_property_readonly("amount", &Rate::amount)
      .def_property_readonly("period_microseconds", [](const Rate& rate) { return rate.period().count(); })
      .def_property_readonly("burst", &Rate::burst);
  reservation_type = add_type(module, reservation_spec);
  decision_type = add_type(module, decision_spec);
  add_type(module, limiter_spec);
  add_type(module, bucket_spec);
}

}  // namespace sentinel::bindings
