// The function that `sentinel.cached` makes: the way of a hit, from the call to the value, without any Python code.
//
// A call is brought to a key (call_key.hpp) and looked up in an ObjectCache. A hit is the value, or for an asynchronous
// function something awaitable that gives it at once. Everything else is Python's: `miss(key, args, kwargs, token)` computes
// and stores, `freeze(name, value)` makes a hashable part of an argument that is not, `gone(token)` hears that an
// instance died. It is a method descriptor, so that a method's call makes no bound method; in a method the first
// argument counts by identity and is not kept alive, where weak references can be had (instance_tokens.hpp).
//
// Cost of a hit: the key, one lookup, no allocation beyond the key's tuple. Threads: the GIL is kept.
#include <pybind11/pybind11.h>

#include <structmember.h>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "bindings/bindings.hpp"
#include "bindings/call_key.hpp"
#include "bindings/fast_type.hpp"
#include "bindings/instance_tokens.hpp"
#include "bindings/object_cache.hpp"

namespace sentinel::bindings {
namespace {

// ---- an answer that is there already ------------------------------------------------------------------------------

// A coroutine in all but name: asyncio's tasks take it, and await gives its value without a step of the event loop.
struct ReadyAnswer {
  PyObject_HEAD PyObject* value;  // nullptr once it was awaited
};

ReadyAnswer* as_answer(PyObject* self) { return reinterpret_cast<ReadyAnswer*>(self); }

PyTypeObject* ready_answer_type = nullptr;  // made once, with the module

PyObject* make_answer(PyObject* value) {  // takes the reference
  auto* answer = PyObject_GC_New(ReadyAnswer, ready_answer_type);
  if (answer == nullptr) {
    Py_DECREF(value);
    return nullptr;
  }
  answer->value = value;
  PyObject_GC_Track(answer);
  return reinterpret_cast<PyObject*>(answer);
}

int answer_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(as_answer(self)->value);
  return 0;
}

int answer_clear(PyObject* self) {
  Py_CLEAR(as_answer(self)->value);
  return 0;
}

void answer_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  Py_CLEAR(as_answer(self)->value);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PySendResult answer_send(PyObject* self, PyObject*, PyObject** result) {
  *result = as_answer(self)->value;
  as_answer(self)->value = nullptr;
  if (*result != nullptr) return PYGEN_RETURN;
  PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
  return PYGEN_ERROR;
}

// StopIteration of the value. A tuple or an exception would be taken for its arguments if it were not wrapped.
PyObject* answer_next(PyObject* self) {
  PyObject* value = nullptr;
  if (answer_send(self, nullptr, &value) == PYGEN_ERROR) return nullptr;
  PyObject* stop = PyObject_CallOneArg(PyExc_StopIteration, value);
  Py_DECREF(value);
  if (stop == nullptr) return nullptr;
  PyErr_SetObject(PyExc_StopIteration, stop);
  Py_DECREF(stop);
  return nullptr;
}

PyObject* answer_await(PyObject* self) { return Py_NewRef(self); }

PyObject* answer_await_method(PyObject* self, PyObject*) { return answer_await(self); }

PyObject* answer_next_method(PyObject* self, PyObject*) { return answer_next(self); }

PyObject* answer_send_method(PyObject* self, PyObject*) { return answer_next(self); }

PyObject* answer_close(PyObject* self, PyObject*) {
  Py_CLEAR(as_answer(self)->value);
  Py_RETURN_NONE;
}

PyObject* answer_throw(PyObject* self, PyObject* const* given, Py_ssize_t count) {
  if (count < 1 || count > 3) {
    PyErr_SetString(PyExc_TypeError, "throw() takes 1 to 3 arguments");
    return nullptr;
  }
  Py_CLEAR(as_answer(self)->value);
  PyObject* type = given[0];
  PyObject* value = count > 1 && given[1] != Py_None ? given[1] : nullptr;
  if (PyExceptionInstance_Check(type)) {
    value = type;
    type = PyExceptionInstance_Class(type);
  }
  if (!PyExceptionClass_Check(type)) {
    PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
    return nullptr;
  }
  PyErr_SetObject(type, value);
  return nullptr;
}

// METH_COEXIST: in place of what Python makes of the slots, for the sake of the signatures.
PyMethodDef answer_methods[] = {
    {"__await__", answer_await_method, METH_NOARGS | METH_COEXIST,
     "__await__(self) -> collections.abc.Iterator[object]\n\nItself."},
    {"__iter__", answer_await_method, METH_NOARGS | METH_COEXIST,
     "__iter__(self) -> collections.abc.Iterator[object]\n\nItself."},
    {"__next__", answer_next_method, METH_NOARGS | METH_COEXIST,
     "__next__(self) -> object\n\nEnds with the value."},
    {"send", answer_send_method, METH_O, "send(self, value: object) -> object\n\nEnds with the value."},
    {"throw", as_method(answer_throw), METH_FASTCALL,
     "throw(self, *exception: object) -> object\n\nRaises the exception here."},
    {"close", answer_close, METH_NOARGS, "close(self) -> None\n\nDrops the value."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot answer_slots[] = {
    {Py_tp_doc, const_cast<char*>("What a cached asynchronous function gives on a hit: await it once.")},
    {Py_tp_traverse, reinterpret_cast<void*>(answer_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(answer_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(answer_dealloc)},
    {Py_tp_iter, reinterpret_cast<void*>(answer_await)},
    {Py_tp_iternext, reinterpret_cast<void*>(answer_next)},
    {Py_am_await, reinterpret_cast<void*>(answer_await)},
    {Py_am_send, reinterpret_cast<void*>(answer_send)},
    {Py_tp_methods, answer_methods},
    {0, nullptr},
};

PyType_Spec answer_spec{
    "sentinel._core.ReadyAnswer", sizeof(ReadyAnswer), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    answer_slots};

// ---- the cached function -------------------------------------------------------------------------------------------

struct CachedFunction {
  PyObject_HEAD vectorcallfunc vectorcall;
  PyObject* function;
  PyObject* cache;
  PyObject* miss;
  PyObject* freeze;
  PyObject* gone;
  PyObject* key;  // what makes the key of a call, or None: its arguments do
  PyObject*
      name_space;  // str: unique to this function; comes before the parts of keys in a cache that others use too
  PyObject* prefix;  // str: comes before what `key` makes; empty for none
  PyObject* names;
  PyObject* defaults;
  PyObject* mark;       // an object that no argument can be
  PyObject* spare;      // a tuple for the next key, or nullptr
  PyObject* forgetter;  // the weak references' callback, made with the first instance
  PyObject* dictionary;
  PyObject* weak_references;
  CallShape shape;
  InstanceTokens* instances;  // nullptr before __init__ and after the collector
  std::uint64_t hits;
  std::uint64_t misses;
  bool shared;    // the cache has other users
  bool single;    // the key is the argument itself
  bool in_order;  // every parameter may be given by position, and there is one
  bool asynchronous;
  bool method;  // the first argument is the instance
  bool ready;   // __init__ is done
};

CachedFunction* as_function(PyObject* self) { return reinterpret_cast<CachedFunction*>(self); }

// A reference of our own. pybind11's checks the GIL each time unless asserts are off, which costs a tenth of a hit.
class Held {
 public:
  Held() = default;
  Held(Held&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Held& operator=(Held&& other) noexcept {
    PyObject* old = std::exchange(object_, std::exchange(other.object_, nullptr));
    Py_XDECREF(old);
    return *this;
  }
  ~Held() { Py_XDECREF(object_); }

  static Held steal(PyObject* object) {
    Held held;
    held.object_ = object;
    return held;
  }
  static Held borrow(PyObject* object) { return steal(Py_XNewRef(object)); }

  PyObject* ptr() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

Held steal(PyObject* object) { return Held::steal(object); }

// ---- keys

PyObject* forget_instance(PyObject* self, PyObject* reference) {
  if (!as_function(self)->ready) Py_RETURN_NONE;
  const Held token = steal(as_function(self)->instances->forget(reference));
  if (!token) Py_RETURN_NONE;
  return PyObject_CallOneArg(as_function(self)->gone, token.ptr());
}

PyMethodDef forgetter_definition = {"forget_instance", forget_instance, METH_O, nullptr};

// What stands for `instance` in keys: a token, which does not keep it alive, or if nothing weak can point to it a bound
// method, which does: those hash and compare by the identity of what they are bound to.
Held stand_in_of(CachedFunction* self, PyObject* instance) {
  if (self->forgetter == nullptr) {
    self->forgetter = PyCFunction_New(&forgetter_definition, reinterpret_cast<PyObject*>(self));
    if (self->forgetter == nullptr) return {};
  }
  Held token = steal(self->instances->token_of(instance, self->name_space, self->forgetter));
  if (token || PyErr_Occurred() != nullptr) return token;
  return steal(PyMethod_New(self->mark, instance));
}

// The key with every unhashable part frozen.
Held freeze_parts(CachedFunction* self, const KeyParts& parts) {
  const auto count = static_cast<Py_ssize_t>(parts.count());
  Held key = steal(PyTuple_New(count));
  if (!key) return {};
  for (Py_ssize_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::size_t>(i);
    PyObject* name = parts.name(place);
    PyObject* part = name == nullptr
                         ? Py_NewRef(parts.part(place))
                         : PyObject_CallFunctionObjArgs(self->freeze, name, parts.part(place), nullptr);
    if (part == nullptr) return {};
    PyTuple_SET_ITEM(key.ptr(), i, part);
  }
  return key;
}

Held join_parts(const KeyParts& parts) {
  const auto count = static_cast<Py_ssize_t>(parts.count());
  Held key = steal(PyTuple_New(count));
  if (!key) return {};
  for (Py_ssize_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(key.ptr(), i, Py_NewRef(parts.part(static_cast<std::size_t>(i))));
  return key;
}

// Whether the hash failed because some part has none.
bool unhashable() {
  if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return false;
  PyErr_Clear();
  return true;
}

enum class Keyed { made, unacceptable, failed };

struct Key {
  Held object;
  Py_hash_t hash = 0;
  Held stand_in;          // for the instance that a method was called on
  bool in_order = false;  // a tuple that key_in_order made
};

Keyed hash_or_freeze(CachedFunction* self, const KeyParts& parts, Key& key) {
  key.object = self->single ? Held::borrow(parts.part(0)) : join_parts(parts);
  if (!key.object) return Keyed::failed;
  key.hash = PyObject_Hash(key.object.ptr());
  if (key.hash != -1) return Keyed::made;
  if (!unhashable()) return Keyed::failed;
  key.object = freeze_parts(self, parts);
  if (!key.object) return Keyed::failed;
  if (self->single) key.object = Held::borrow(PyTuple_GET_ITEM(key.object.ptr(), 0));
  key.hash = PyObject_Hash(key.object.ptr());
  return key.hash == -1 ? Keyed::failed : Keyed::made;
}

// From CPython 3.14 on a tuple remembers its hash.
constexpr bool kTuplesCanBeUsedAgain = PY_VERSION_HEX < 0x030E0000;

// The tuple of the last hit, empty, if it can be used again: allocating one costs as much as finding its value.
Held take_spare(CachedFunction* self, Py_ssize_t count) {
  if (self->spare == nullptr) return steal(PyTuple_New(count));
  return steal(std::exchange(self->spare, nullptr));
}

// Before a key is given away: the collector no longer watches a tuple that it has seen with plain parts alone.
void watch_again(const Key& key) {
  if (key.in_order && PyObject_GC_IsTracked(key.object.ptr()) == 0) PyObject_GC_Track(key.object.ptr());
}

// Puts a part where None or nothing was.
void put_part(PyObject** place, PyObject* part) {
  PyObject* before = std::exchange(*place, Py_NewRef(part));
  Py_XDECREF(before);
}

// Keeps the key's tuple for the next call unless somebody else has it. The collector may see it any time, so every place
// holds something.
void keep_spare(CachedFunction* self, Held& key) {
  if (!kTuplesCanBeUsedAgain || self->spare != nullptr || Py_REFCNT(key.ptr()) != 1) return;
  const Py_ssize_t count = PyTuple_GET_SIZE(key.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* part = PyTuple_GET_ITEM(key.ptr(), i);
    PyTuple_SET_ITEM(key.ptr(), i, Py_NewRef(Py_None));
    Py_DECREF(part);
  }
  if (self->spare == nullptr) self->spare = key.release();
}

// The key of a call that gives every parameter by position, which is as it should be already. Nothing, and no exception,
// if some part has no hash.
Keyed key_in_order(CachedFunction* self, const Call& call, Key& key) {
  if (self->method) {
    key.stand_in = stand_in_of(self, call.arguments[0]);
    if (!key.stand_in) return Keyed::failed;
  }
  PyObject* first = key.stand_in ? key.stand_in.ptr() : call.arguments[0];
  if (self->single) {
    key.object = Held::borrow(first);
  } else {
    const Py_ssize_t lead = self->shared ? 1 : 0;
    key.object = take_spare(self, lead + static_cast<Py_ssize_t>(call.positional));
    if (!key.object) return Keyed::failed;
    PyObject** parts = reinterpret_cast<PyTupleObject*>(key.object.ptr())->ob_item;
    if (self->shared) put_part(parts++, self->name_space);
    put_part(parts++, first);
    for (std::size_t i = 1; i < call.positional; ++i) put_part(parts++, call.arguments[i]);
    key.in_order = true;
  }
  key.hash = PyObject_Hash(key.object.ptr());
  if (key.hash != -1) return Keyed::made;
  return unhashable() ? Keyed::unacceptable : Keyed::failed;
}

Keyed key_of_arguments(CachedFunction* self, const Call& call, Key& key) {
  if (self->in_order && call.keywords == nullptr && call.positional == self->shape.positional) {
    const Keyed keyed = key_in_order(self, call, key);
    if (keyed != Keyed::unacceptable) return keyed;
  }
  KeyParts parts(self->shape.most_parts(call));
  if (self->shared) parts.add(self->name_space, nullptr);
  const std::size_t first = parts.count();
  if (!self->shape.collect(call, self->mark, parts)) return Keyed::unacceptable;
  if (self->method && call.positional > 0) {
    key.stand_in = stand_in_of(self, call.arguments[0]);
    if (!key.stand_in) return Keyed::failed;
    const std::size_t place = self->shape.positional > 0 ? first : first + self->shape.count();
    parts.put(place, key.stand_in.ptr());
  }
  return hash_or_freeze(self, parts, key);
}

Held prefixed(CachedFunction* self, Held made) {
  if (PyUnicode_GET_LENGTH(self->prefix) == 0) return made;
  if (PyUnicode_Check(made.ptr())) return steal(PyUnicode_Concat(self->prefix, made.ptr()));
  return steal(PyTuple_Pack(2, self->prefix, made.ptr()));
}

Keyed key_of_callable(CachedFunction* self, const Call& call, Key& key) {
  Held made = steal(PyObject_Vectorcall(self->key, call.arguments, call.positional, call.keywords));
  if (!made) return Keyed::failed;
  key.object = prefixed(self, std::move(made));
  if (!key.object) return Keyed::failed;
  key.hash = PyObject_Hash(key.object.ptr());
  return key.hash == -1 ? Keyed::failed : Keyed::made;
}

Keyed key_of(CachedFunction* self, const Call& call, Key& key) {
  return self->key == Py_None ? key_of_arguments(self, call, key) : key_of_callable(self, call, key);
}

// ---- calls

PyObject* call_miss(CachedFunction* self, const Call& call, const Key& key) {
  ++self->misses;
  watch_again(key);
  const Held arguments = steal(PyTuple_New(static_cast<Py_ssize_t>(call.positional)));
  const Held keywords = steal(PyDict_New());
  if (!arguments || !keywords) return nullptr;
  for (std::size_t i = 0; i < call.positional; ++i)
    PyTuple_SET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(i), Py_NewRef(call.arguments[i]));
  for (std::size_t k = 0; k < call.keyword_count(); ++k) {
    PyObject* name = PyTuple_GET_ITEM(call.keywords, static_cast<Py_ssize_t>(k));
    if (PyDict_SetItem(keywords.ptr(), name, call.arguments[call.positional + k]) < 0) return nullptr;
  }
  const bool has_token = key.stand_in && PyUnicode_Check(key.stand_in.ptr()) != 0;
  PyObject* token = has_token ? key.stand_in.ptr() : Py_None;
  return PyObject_CallFunctionObjArgs(self->miss, key.object.ptr(), arguments.ptr(), keywords.ptr(), token,
                                      nullptr);
}

Call call_of(PyObject* const* arguments, std::size_t flagged, PyObject* keywords) {
  return {arguments, static_cast<std::size_t>(PyVectorcall_NARGS(flagged)), keywords};
}

bool refuse_unready(CachedFunction* self) {
  if (self->ready) return false;
  PyErr_SetString(PyExc_RuntimeError, "CachedFunction.__init__ was not called");
  return true;
}

PyObject* function_call(PyObject* object, PyObject* const* arguments, std::size_t flagged,
                        PyObject* keywords) {
  CachedFunction* self = as_function(object);
  if (refuse_unready(self)) return nullptr;
  const Call call = call_of(arguments, flagged, keywords);
  Key key;
  switch (key_of(self, call, key)) {
    case Keyed::failed: return nullptr;
    case Keyed::unacceptable:  // it raises, in its own words
      return PyObject_Vectorcall(self->function, arguments, call.positional, keywords);
    case Keyed::made: break;
  }
  PyObject* value = object_cache_get(self->cache, key.object.ptr(), key.hash);
  if (value == nullptr) return PyErr_Occurred() != nullptr ? nullptr : call_miss(self, call, key);
  ++self->hits;
  if (key.in_order) keep_spare(self, key.object);
  return self->asynchronous ? make_answer(value) : value;
}

PyObject* function_key_of(PyObject* object, PyObject* const* arguments, Py_ssize_t count,
                          PyObject* keywords) {
  CachedFunction* self = as_function(object);
  if (refuse_unready(self)) return nullptr;
  Key key;
  switch (key_of(self, call_of(arguments, static_cast<std::size_t>(count), keywords), key)) {
    case Keyed::failed: return nullptr;
    case Keyed::unacceptable:
      PyErr_Format(PyExc_TypeError, "%R does not take these arguments", self->function);
      return nullptr;
    case Keyed::made: break;
  }
  watch_again(key);
  return key.object.release();
}

PyObject* function_reset_counts(PyObject* object, PyObject*) {
  as_function(object)->hits = 0;
  as_function(object)->misses = 0;
  Py_RETURN_NONE;
}

PyObject* function_set_name(PyObject* self, PyObject* const*, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "__set_name__() takes 2 arguments");
    return nullptr;
  }
  as_function(self)->method = true;
  Py_RETURN_NONE;
}

// The function's `__qualname__`. Nothing, and no exception, if it has none: partial objects and the like.
Held name_of(PyObject* self) {
  Held name = steal(PyObject_GetAttrString(self, "__qualname__"));
  if (!name && PyErr_ExceptionMatches(PyExc_AttributeError) != 0) PyErr_Clear();
  return name;
}

PyObject* function_reduce(PyObject* self, PyObject*) {
  Held name = name_of(self);
  if (!name && PyErr_Occurred() == nullptr)
    PyErr_Format(PyExc_TypeError, "cannot pickle %R: it has no name to be found by", self);
  return name.release();
}

PyObject* function_get(PyObject* self, PyObject* instance, PyObject*) {
  if (instance == nullptr || instance == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, instance);
}

PyObject* function_repr(PyObject* self) {
  const Held name = name_of(self);
  if (name) return PyUnicode_FromFormat("<cached function %S>", name.ptr());
  if (PyErr_Occurred() != nullptr) return nullptr;
  PyObject* function = as_function(self)->function;
  return PyUnicode_FromFormat("<cached function %R>", function == nullptr ? Py_None : function);
}

// ---- life

// Takes references to what `values` borrow.
void keep(CachedFunction* self, PyObject* function, PyObject* cache, PyObject* miss, PyObject* freeze,
          PyObject* gone, PyObject* key) {
  self->function = Py_NewRef(function);
  self->cache = Py_NewRef(cache);
  self->miss = Py_NewRef(miss);
  self->freeze = Py_NewRef(freeze);
  self->gone = Py_NewRef(gone);
  self->key = Py_NewRef(key);
}

bool fits(PyObject* names, PyObject* defaults, Py_ssize_t positional, Py_ssize_t by_position_only) {
  const Py_ssize_t count = PyTuple_GET_SIZE(names);
  bool good = PyTuple_GET_SIZE(defaults) == count && 0 <= by_position_only &&
              by_position_only <= positional && positional <= count;
  for (Py_ssize_t i = 0; good && i < count; ++i) {
    PyObject* stands = PyTuple_GET_ITEM(defaults, i);
    good = PyUnicode_Check(PyTuple_GET_ITEM(names, i)) != 0 &&
           (stands == Py_None || (PyTuple_Check(stands) && PyTuple_GET_SIZE(stands) == 1));
  }
  if (!good) PyErr_SetString(PyExc_ValueError, "names, defaults and positional do not fit each other");
  return good;
}

bool names_in_order(const CallShape& shape) {
  return shape.count() > 0 && shape.positional == shape.count() && !shape.extra_positional &&
         !shape.extra_keywords;
}

int function_init(PyObject* object, PyObject* given, PyObject* by_name) {
  CachedFunction* self = as_function(object);
  static const char* words[] = {
      "function",         "cache",          "miss",   "freeze",       "gone",       "key",
      "name_space",       "prefix",         "names",  "defaults",     "positional", "by_position_only",
      "extra_positional", "extra_keywords", "shared", "asynchronous", nullptr};
  PyObject *function = nullptr, *cache = nullptr, *miss = nullptr, *freeze = nullptr, *gone = nullptr;
  PyObject *key = nullptr, *name_space = nullptr, *prefix = nullptr, *names = nullptr, *defaults = nullptr;
  Py_ssize_t positional = 0, by_position_only = 0;
  int extra_positional = 0, extra_keywords = 0, shared = 0, asynchronous = 0;
  if (PyArg_ParseTupleAndKeywords(given, by_name, "OO$OOOOUUO!O!nnpppp", const_cast<char**>(words), &function,
                                  &cache, &miss, &freeze, &gone, &key, &name_space, &prefix, &PyTuple_Type,
                                  &names, &PyTuple_Type, &defaults, &positional, &by_position_only,
                                  &extra_positional, &extra_keywords, &shared, &asynchronous) == 0)
    return -1;
  if (self->ready) {
    PyErr_SetString(PyExc_RuntimeError, "CachedFunction.__init__ was called before");
    return -1;
  }
  if (!is_object_cache(cache)) {
    PyErr_Format(PyExc_TypeError, "cache must be an ObjectCache, not %.100s", Py_TYPE(cache)->tp_name);
    return -1;
  }
  if (!fits(names, defaults, positional, by_position_only)) return -1;
  self->mark = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  if (self->mark == nullptr) return -1;
  keep(self, function, cache, miss, freeze, gone, key);
  self->name_space = Py_NewRef(name_space);
  self->prefix = Py_NewRef(prefix);
  self->names = Py_NewRef(names);
  self->defaults = Py_NewRef(defaults);
  self->shape = {names,
                 defaults,
                 static_cast<std::size_t>(positional),
                 static_cast<std::size_t>(by_position_only),
                 extra_positional != 0,
                 extra_keywords != 0};
  self->shared = shared != 0;
  self->single = self->shape.single() && !self->shared;
  self->in_order = names_in_order(self->shape);
  self->asynchronous = asynchronous != 0;
  self->instances = new InstanceTokens;
  self->vectorcall = function_call;
  self->ready = true;
  return 0;
}

int function_traverse(PyObject* object, visitproc visit, void* arg) {
  CachedFunction* self = as_function(object);
  Py_VISIT(Py_TYPE(object));
  for (PyObject* held : {self->function, self->cache, self->miss, self->freeze, self->gone, self->key,
                         self->name_space, self->prefix, self->names, self->defaults, self->mark, self->spare,
                         self->forgetter, self->dictionary})
    Py_VISIT(held);
  return self->instances == nullptr ? 0 : self->instances->traverse(visit, arg);
}

int function_clear(PyObject* object) {
  CachedFunction* self = as_function(object);
  self->ready = false;  // whoever still calls it is told so
  Py_CLEAR(self->function);
  Py_CLEAR(self->cache);
  Py_CLEAR(self->miss);
  Py_CLEAR(self->freeze);
  Py_CLEAR(self->gone);
  Py_CLEAR(self->key);
  Py_CLEAR(self->name_space);
  Py_CLEAR(self->prefix);
  Py_CLEAR(self->names);
  Py_CLEAR(self->defaults);
  Py_CLEAR(self->mark);
  Py_CLEAR(self->spare);
  Py_CLEAR(self->forgetter);
  Py_CLEAR(self->dictionary);
  delete std::exchange(self->instances, nullptr);
  return 0;
}

void function_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  if (as_function(object)->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  function_clear(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* function_init_method(PyObject* self, PyObject* given, PyObject* by_name) {
  if (function_init(self, given, by_name) < 0) return nullptr;
  Py_RETURN_NONE;
}

PyObject* function_call_method(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* keywords) {
  return function_call(self, given, static_cast<std::size_t>(count), keywords);
}

PyObject* function_get_method(PyObject* self, PyObject* const* given, Py_ssize_t count) {
  if (count == 1 || count == 2) return function_get(self, given[0], nullptr);
  PyErr_SetString(PyExc_TypeError, "__get__() takes 1 or 2 arguments");
  return nullptr;
}

PyObject* function_repr_method(PyObject* self, PyObject*) { return function_repr(self); }

PyMethodDef function_methods[] = {
    {"__init__", as_method(function_init_method), METH_VARARGS | METH_KEYWORDS | METH_COEXIST,
     "__init__(self, function: collections.abc.Callable[..., object], cache: ObjectCache, *, "
     "miss: collections.abc.Callable[..., object], freeze: collections.abc.Callable[..., object], "
     "gone: collections.abc.Callable[[str], object], key: object, name_space: str, prefix: str, "
     "names: tuple[str, ...], defaults: tuple[tuple[object] | None, ...], positional: int, "
     "by_position_only: int, extra_positional: bool, extra_keywords: bool, shared: bool, "
     "asynchronous: bool) -> None"},
    {"__call__", as_method(function_call_method), METH_FASTCALL | METH_KEYWORDS | METH_COEXIST,
     "__call__(self, *args: object, **kwargs: object) -> object\n\nThe value kept for these arguments, or a "
     "new one."},
    {"__get__", as_method(function_get_method), METH_FASTCALL | METH_COEXIST,
     "__get__(self, instance: object, owner: type | None = None) -> object\n\nBinds it as a method."},
    {"__repr__", function_repr_method, METH_NOARGS | METH_COEXIST, "__repr__(self) -> str"},
    {"key_of", as_method(function_key_of), METH_FASTCALL | METH_KEYWORDS,
     "key_of(self, *args: object, **kwargs: object) -> object\n\n"
     "The cache's key of such a call. TypeError if the function does not take these arguments."},
    {"reset_counts", function_reset_counts, METH_NOARGS,
     "reset_counts(self) -> None\n\nBegin to count anew."},
    {"__set_name__", as_method(function_set_name), METH_FASTCALL,
     "__set_name__(self, owner: type, name: str) -> None\n\nFrom now on the first argument is an instance."},
    {"__reduce__", function_reduce, METH_NOARGS,
     "__reduce__(self) -> str\n\nPickled and copied by name, as functions are."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef function_members[] = {
    {"hits", T_ULONGLONG, offsetof(CachedFunction, hits), READONLY, "Calls answered from the cache."},
    {"misses", T_ULONGLONG, offsetof(CachedFunction, misses), READONLY, "Calls that were not."},
    {"__dictoffset__", T_PYSSIZET, offsetof(CachedFunction, dictionary), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(CachedFunction, weak_references), READONLY, nullptr},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CachedFunction, vectorcall), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyGetSetDef function_properties[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot function_slots[] = {
    {Py_tp_doc,
     const_cast<char*>("A function whose results are kept in an ObjectCache. Made by sentinel.cached.")},
    {Py_tp_init, reinterpret_cast<void*>(function_init)},
    {Py_tp_traverse, reinterpret_cast<void*>(function_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(function_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(function_dealloc)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
    {Py_tp_descr_get, reinterpret_cast<void*>(function_get)},
    {Py_tp_methods, function_methods},
    {Py_tp_members, function_members},
    {Py_tp_getset, function_properties},
    {0, nullptr},
};

// Immutable, so that the interpreter specialises the look-up of a method of this type.
PyType_Spec function_spec{"sentinel._core.CachedFunction", sizeof(CachedFunction), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                              Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_IMMUTABLETYPE,
                          function_slots};

}  // namespace

void bind_cached_function(pybind11::module_& module) {
  ready_answer_type = add_type(module, answer_spec);
  add_type(module, function_spec);
}

}  // namespace sentinel::bindings
