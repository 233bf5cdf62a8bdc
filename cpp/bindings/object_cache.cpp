// The raw heap type ObjectCache: its methods, what Python sees of them, and its life. What it holds is a Store
// (object_cache_store.hpp), what it is given is read in object_cache_arguments.hpp.
#include "bindings/object_cache.hpp"

#include <structmember.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/fast_type.hpp"
#include "bindings/object_cache_arguments.hpp"
#include "bindings/object_cache_keys.hpp"
#include "bindings/object_cache_store.hpp"

namespace sentinel::bindings {
namespace {

using object_cache::Bounds;
using object_cache::callable_or_none;
using object_cache::Counters;
using object_cache::Found;
using object_cache::hash_at_once;
using object_cache::hash_of;
using object_cache::InitArguments;
using object_cache::kNanosecondsPerSecond;
using object_cache::kNever;
using object_cache::SetOptions;
using object_cache::Store;
using object_cache::Terms;

PyTypeObject* object_cache_type = nullptr;

struct ObjectCache {
  PyObject_HEAD PyObject* weak_references;
  Store store;
};

Store& store_of(PyObject* self) { return reinterpret_cast<ObjectCache*>(self)->store; }

// Calls what may throw bad_alloc.
template <class Result, class Function>
Result guarded(Result failed, Function function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return failed;
  }
}

// A key and a default, as get, peek and pop take them.
bool key_and_default(const Parameters<2>& parameters, PyObject* const* given, Py_ssize_t count,
                     PyObject* names, std::array<PyObject*, 2>& values) {
  if (names != nullptr || count < 1 || count > 2) return parameters.match(given, count, names, values);
  values[0] = given[0];
  if (count == 2) values[1] = given[1];
  return true;
}

constexpr char kGetDoc[] =
    "get(self, key: object, default: typing.Any = None) -> typing.Any\n\n"
    "The fresh value of the key, else `default`. Counts a hit or a miss and renews the entry.\n"
    "Without any ttl no clock is read.";

[[gnu::noinline]] PyObject* get_any(PyObject* self, PyObject* const* given, Py_ssize_t count,
                                    PyObject* names) {
  static constexpr Parameters<2> kParameters("get", {"key", "default"}, 1);
  std::array<PyObject*, 2> values{nullptr, Py_None};
  Py_hash_t hash = 0;
  if (!key_and_default(kParameters, given, count, names, values) || !hash_of(values[0], hash)) return nullptr;
  return store_of(self).get(values[0], hash, values[1]);
}

PyObject* get(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  Py_hash_t hash = 0;
  if (names != nullptr || (count != 1 && count != 2) || !hash_at_once(given[0], hash)) [[unlikely]]
    return get_any(self, given, count, names);
  return store_of(self).get(given[0], hash, count == 1 ? Py_None : given[1]);
}

constexpr char kPeekDoc[] =
    "peek(self, key: object, default: typing.Any = None) -> typing.Any\n\n"
    "As `get`, but nothing is counted and the entry is not renewed.";

PyObject* peek(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<2> kParameters("peek", {"key", "default"}, 1);
  std::array<PyObject*, 2> values{nullptr, Py_None};
  Py_hash_t hash = 0;
  if (!key_and_default(kParameters, given, count, names, values) || !hash_of(values[0], hash)) return nullptr;
  return store_of(self).peek(values[0], hash, values[1]);
}

constexpr char kPopDoc[] =
    "pop(self, key: object, default: typing.Any = None) -> typing.Any\n\n"
    "Removes the key and gives its fresh value, else `default`. Nothing is counted.";

PyObject* pop(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<2> kParameters("pop", {"key", "default"}, 1);
  std::array<PyObject*, 2> values{nullptr, Py_None};
  Py_hash_t hash = 0;
  if (!key_and_default(kParameters, given, count, names, values) || !hash_of(values[0], hash)) return nullptr;
  PyObject* value = nullptr;
  const int taken = guarded(-1, [&] { return store_of(self).take(values[0], hash, &value); });
  if (taken < 0) return nullptr;
  return value != nullptr ? value : Py_NewRef(values[1]);
}

constexpr char kSetDoc[] =
    "set(self, key: object, value: object, *, ttl: float | None = None, stale: float = 0.0, "
    "tags: collections.abc.Iterable[str] = (), cost: float = 0.0) -> bool\n\n"
    "Stores the value, in place of an older one. False when it is heavier than the whole bound: then the key "
    "has no value.\n"
    "Otherwise it can be read right after: a new entry enters a window ordered by recency, and the adaptive\n"
    "policy judges it by its uses only when it leaves that window.\n\n"
    "ttl: seconds for which it is fresh, above 0; None is the cache's own, math.inf no end. stale: seconds "
    "for which\n"
    "`lookup` still gives it afterwards. tags: names for `invalidate_tag`. cost: seconds that computing the "
    "value took.\n"
    "ValueError for a ttl that is not above 0, a negative stale or cost; TypeError for an unhashable key.";

int store_value(PyObject* self, PyObject* key, PyObject* value, const SetOptions* options) {
  Store& store = store_of(self);
  if (!store.ready()) {
    PyErr_SetString(PyExc_RuntimeError, "ObjectCache.__init__() was not called");
    return -1;
  }
  return guarded(-1, [&] {
    Terms terms;
    terms.ttl = store.bounds().ttl;
    Py_hash_t hash = 0;
    if (options != nullptr && !terms_from(*options, terms)) return -1;
    if (!hash_of(key, hash) || !store.weigh(key, value, terms.weight)) return -1;
    return store.set(key, hash, value, terms);
  });
}

PyObject* set(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
  static constexpr Parameters<6> kParameters("set", {"key", "value", "ttl", "stale", "tags", "cost"}, 2, 2);
  if (count == 2 && names == nullptr) {
    const int stored = store_value(self, given[0], given[1], nullptr);
    return stored < 0 ? nullptr : PyBool_FromLong(stored);
  }
  std::array<PyObject*, 6> values{};
  if (!kParameters.match(given, count, names, values)) return nullptr;
  const SetOptions options{values[2], values[3], values[4], values[5]};
  const int stored = store_value(self, values[0], values[1], &options);
  return stored < 0 ? nullptr : PyBool_FromLong(stored);
}

constexpr char kDeleteDoc[] =
    "delete(self, key: object, /) -> bool\n\nRemoves the key; True when it had a value, be it a stale one.";

PyObject* delete_key(PyObject* self, PyObject* key) {
  Py_hash_t hash = 0;
  if (!hash_of(key, hash)) return nullptr;
  const int taken = guarded(-1, [&] { return store_of(self).take(key, hash, nullptr); });
  return taken < 0 ? nullptr : PyBool_FromLong(taken);
}

constexpr char kLookupDoc[] =
    "lookup(self, key: object, /) -> tuple[typing.Any, float, float] | None\n\n"
    "The value with the seconds it stays fresh (negative when it is past that and within its stale window, "
    "math.inf\n"
    "without ttl) and its cost in seconds. Counts a hit, a stale hit or a miss, and renews the entry.";

PyObject* lookup(PyObject* self, PyObject* key) {
  Py_hash_t hash = 0;
  if (!hash_of(key, hash)) return nullptr;
  Found found;
  const int held = guarded(-1, [&] { return store_of(self).lookup(key, hash, found); });
  if (held < 0) return nullptr;
  if (held == 0) return Py_NewRef(Py_None);
  return Py_BuildValue("Ndd", found.value, found.remaining_seconds, found.cost_seconds);
}

constexpr char kClearDoc[] = "clear(self) -> None\n\nRemoves everything; the counters stay.";

PyObject* clear(PyObject* self, PyObject*) {
  return guarded<PyObject*>(nullptr, [&] {
    store_of(self).clear();
    return Py_NewRef(Py_None);
  });
}

constexpr char kInvalidateTagDoc[] =
    "invalidate_tag(self, tag: str, /) -> int\n\nRemoves every entry that was stored with the tag; how many.";

PyObject* invalidate_tag(PyObject* self, PyObject* tag) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(tag, &size);
  if (text == nullptr) return nullptr;
  return guarded<PyObject*>(nullptr, [&] {
    return PyLong_FromSize_t(store_of(self).drop_tag({text, static_cast<std::size_t>(size)}));
  });
}

constexpr char kInvalidatePatternDoc[] =
    "invalidate_pattern(self, pattern: str, /) -> int\n\n"
    "Removes every entry whose key is a str that the shell pattern matches as a whole; how many.\n"
    "* is any run, ? any one character, [abc] or [a-z] one of a class, [!abc] one not of it. Looks at every "
    "entry, in at most\n"
    "length of key x length of pattern steps.";

PyObject* invalidate_pattern(PyObject* self, PyObject* pattern) {
  if (!PyUnicode_Check(pattern)) {
    PyErr_Format(PyExc_TypeError, "pattern must be a str, not %.100s", Py_TYPE(pattern)->tp_name);
    return nullptr;
  }
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    std::u32string text(static_cast<std::size_t>(PyUnicode_GET_LENGTH(pattern)), U'\0');
    for (std::size_t i = 0; i < text.size(); ++i)
      text[i] = static_cast<char32_t>(PyUnicode_READ_CHAR(pattern, static_cast<Py_ssize_t>(i)));
    return PyLong_FromSize_t(store_of(self).drop_matching(cache::Glob(text)));
  });
}

constexpr char kExpireDoc[] =
    "expire(self) -> int\n\nRemoves what is past its ttl and its stale window; how many.\n"
    "Not needed for correctness: such entries are never given, and each `set` removes some.";

PyObject* expire(PyObject* self, PyObject*) {
  const Py_ssize_t gone = guarded<Py_ssize_t>(-1, [&] { return store_of(self).expire(); });
  return gone < 0 ? nullptr : PyLong_FromSsize_t(gone);
}

// Consumes the references.
PyObject* list_of_keys(const std::vector<PyObject*>& collected) {
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(collected.size()));
  for (std::size_t i = 0; i < collected.size(); ++i) {
    if (list == nullptr) {
      Py_DECREF(collected[i]);
    } else {
      PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), collected[i]);
    }
  }
  return list;
}

// Consumes the references: key and value in turn.
PyObject* list_of_items(const std::vector<PyObject*>& collected) {
  PyObject* list = PyList_New(static_cast<Py_ssize_t>(collected.size() / 2));
  for (std::size_t i = 0; i < collected.size(); i += 2) {
    PyObject* item = list == nullptr ? nullptr : PyTuple_Pack(2, collected[i], collected[i + 1]);
    Py_DECREF(collected[i]);
    Py_DECREF(collected[i + 1]);
    if (item != nullptr) {
      PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i / 2), item);
    } else {
      Py_CLEAR(list);
    }
  }
  return list;
}

constexpr char kKeysDoc[] =
    "keys(self) -> list[typing.Any]\n\n"
    "The keys of fresh entries, those that would be kept longest first. With policy \"lru\": newest first.";

PyObject* keys(PyObject* self, PyObject*) {
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    std::vector<PyObject*> collected;
    return store_of(self).collect(collected, false) ? list_of_keys(collected) : nullptr;
  });
}

constexpr char kItemsDoc[] =
    "items(self) -> list[tuple[typing.Any, typing.Any]]\n\nKeys and values of fresh entries, in the order of "
    "`keys`.";

PyObject* items(PyObject* self, PyObject*) {
  return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
    std::vector<PyObject*> collected;
    return store_of(self).collect(collected, true) ? list_of_items(collected) : nullptr;
  });
}

constexpr char kCountersDoc[] =
    "counters(self) -> dict[str, int]\n\n"
    "hits, misses, stale_hits, sets, evictions (for room), expirations, rejections (too heavy), entries, and "
    "bytes\n"
    "(0 without max_bytes). entries and bytes may hold some that have expired and were not met yet.";

PyObject* counters(PyObject* self, PyObject*) {
  const Store& store = store_of(self);
  const Counters& counted = store.counters();
  return Py_BuildValue("{sKsKsKsKsKsKsKsKsK}", "hits", counted.hits, "misses", counted.misses, "stale_hits",
                       counted.stale_hits, "sets", counted.sets, "evictions", counted.evictions,
                       "expirations", counted.expirations, "rejections", counted.rejections, "entries",
                       static_cast<unsigned long long>(store.size()), "bytes", store.bytes());
}

constexpr char kClockSecondsDoc[] = "clock_seconds(self) -> float\n\nThe cache's clock: seconds, monotonic.";

PyObject* clock_seconds(PyObject* self, PyObject*) {
  std::int64_t now = 0;
  if (!store_of(self).clock().read(now)) return nullptr;
  return PyFloat_FromDouble(static_cast<double>(now) / kNanosecondsPerSecond);
}

Py_ssize_t length(PyObject* self) {
  if (guarded<Py_ssize_t>(-1, [&] { return store_of(self).expire(); }) < 0) return -1;
  return static_cast<Py_ssize_t>(store_of(self).size());
}

constexpr char kLenDoc[] =
    "__len__(self) -> int\n\nHow many entries can still be given, fresh or stale; removes what cannot.";

PyObject* length_method(PyObject* self, PyObject*) {
  const Py_ssize_t size = length(self);
  return size < 0 ? nullptr : PyLong_FromSsize_t(size);
}

int contains(PyObject* self, PyObject* key) {
  Py_hash_t hash = 0;
  if (!hash_of(key, hash)) return -1;
  PyObject* value = store_of(self).peek(key, hash, nullptr);
  if (value == nullptr) return PyErr_Occurred() == nullptr ? 0 : -1;
  Py_DECREF(value);
  return 1;
}

constexpr char kContainsDoc[] =
    "__contains__(self, key: object, /) -> bool\n\nWhether `get` would find it. Nothing is counted.";

PyObject* contains_method(PyObject* self, PyObject* key) {
  const int held = contains(self, key);
  return held < 0 ? nullptr : PyBool_FromLong(held);
}

int init(PyObject* self, PyObject* arguments, PyObject* keywords) {
  static const char* const kNames[] = {"max_entries", "max_bytes", "ttl",  "policy",
                                       "weigh",       "clock",     nullptr};
  InitArguments given;
  if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O$OOOOO:ObjectCache", const_cast<char**>(kNames),
                                   &given.max_entries, &given.max_bytes, &given.ttl, &given.policy,
                                   &given.weigh, &given.clock))
    return -1;
  Bounds bounds;
  if (!bounds_from(given, bounds) || !callable_or_none(given.weigh, "weigh") ||
      !callable_or_none(given.clock, "clock"))
    return -1;
  if (store_of(self).ready()) {  // last, as a bound's __index__ may have called us
    PyErr_SetString(PyExc_RuntimeError, "ObjectCache.__init__() was called before");
    return -1;
  }
  PyObject* measure = given.weigh == Py_None && bounds.max_bytes > 0 ? PySys_GetObject("getsizeof") : nullptr;
  return guarded(-1, [&] {
    const auto given_or_null = [](PyObject* object) { return object == Py_None ? nullptr : object; };
    store_of(self).set_up(bounds, given_or_null(given.weigh), measure, given_or_null(given.clock));
    return 0;
  });
}

constexpr char kInitDoc[] =
    "__init__(self, max_entries: int | None = None, *, max_bytes: int | None = None, ttl: float | None = "
    "None, "
    "policy: str = 'adaptive', weigh: collections.abc.Callable[[typing.Any, typing.Any], int] | None = None, "
    "clock: collections.abc.Callable[[], float] | None = None) -> None";

PyObject* init_method(PyObject* self, PyObject* arguments, PyObject* keywords) {
  return init(self, arguments, keywords) < 0 ? nullptr : Py_NewRef(Py_None);
}

PyObject* make(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  auto* cache = reinterpret_cast<ObjectCache*>(self);
  try {
    new (&cache->store) Store();
  } catch (const std::bad_alloc&) {
    PyObject_GC_UnTrack(self);
    type->tp_free(self);
    Py_DECREF(type);
    return PyErr_NoMemory();
  }
  return self;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  return store_of(self).traverse(visit, arg);
}

int clear_references(PyObject* self) {
  return guarded(-1, [&] {
    store_of(self).let_go();
    return 0;
  });
}

void deallocate(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (reinterpret_cast<ObjectCache*>(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  Py_TRASHCAN_BEGIN(self, deallocate) clear_references(self);
  store_of(self).~Store();
  type->tp_free(self);
  Py_DECREF(type);
  Py_TRASHCAN_END
}

PyObject* get_max_entries(PyObject* self, PyObject*) {
  const Bounds& bounds = store_of(self).bounds();
  const bool bounded = bounds.max_entries != Bounds{}.max_entries;
  return bounded ? PyLong_FromSize_t(bounds.max_entries) : Py_NewRef(Py_None);
}

PyObject* get_max_bytes(PyObject* self, PyObject*) {
  const Bounds& bounds = store_of(self).bounds();
  return bounds.max_bytes == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(bounds.max_bytes);
}

PyObject* get_ttl(PyObject* self, PyObject*) {
  const Bounds& bounds = store_of(self).bounds();
  if (bounds.ttl == kNever) return Py_NewRef(Py_None);
  return PyFloat_FromDouble(static_cast<double>(bounds.ttl) / kNanosecondsPerSecond);
}

PyObject* get_policy(PyObject* self, PyObject*) {
  return PyUnicode_FromString(store_of(self).bounds().adaptive ? "adaptive" : "lru");
}

constexpr char kTypeDoc[] =
    "A bounded cache of Python objects, in memory: holds references, by hash and equality as a dict does.\n\n"
    "ObjectCache(max_entries=None, *, max_bytes=None, ttl=None, policy='adaptive', weigh=None, "
    "clock=None)\n\n"
    "At least one of max_entries and max_bytes. ttl: seconds that entries are fresh unless `set` says "
    "otherwise.\n"
    "policy: 'lru', or 'adaptive': W-TinyLFU (Einziger, Friedman, Manes 2017) that gives way to LRU when a "
    "sample of the\n"
    "accesses shows that recency hits more. weigh(key, value): bytes of an entry, 0 or more, else "
    "sys.getsizeof of both and\n"
    "96 for the entry. clock(): seconds, monotonic; else the system's, to which expiry is exact.\n"
    "ValueError for parameters out of range. Threads: safe under the GIL; keys and values may call the cache "
    "back.";

PyMethodDef methods[] = {
    {"__init__", as_method(init_method), METH_VARARGS | METH_KEYWORDS | METH_COEXIST, kInitDoc},
    {"__len__", length_method, METH_NOARGS | METH_COEXIST, kLenDoc},
    {"__contains__", contains_method, METH_O | METH_COEXIST, kContainsDoc},
    {"get", as_method(get), METH_FASTCALL | METH_KEYWORDS, kGetDoc},
    {"peek", as_method(peek), METH_FASTCALL | METH_KEYWORDS, kPeekDoc},
    {"set", as_method(set), METH_FASTCALL | METH_KEYWORDS, kSetDoc},
    {"delete", delete_key, METH_O, kDeleteDoc},
    {"pop", as_method(pop), METH_FASTCALL | METH_KEYWORDS, kPopDoc},
    {"clear", clear, METH_NOARGS, kClearDoc},
    {"lookup", lookup, METH_O, kLookupDoc},
    {"invalidate_tag", invalidate_tag, METH_O, kInvalidateTagDoc},
    {"invalidate_pattern", invalidate_pattern, METH_O, kInvalidatePatternDoc},
    {"expire", expire, METH_NOARGS, kExpireDoc},
    {"keys", keys, METH_NOARGS, kKeysDoc},
    {"items", items, METH_NOARGS, kItemsDoc},
    {"counters", counters, METH_NOARGS, kCountersDoc},
    {"clock_seconds", clock_seconds, METH_NOARGS, kClockSecondsDoc},
    {nullptr, nullptr, 0, nullptr},
};

PyMethodDef properties[] = {
    {"max_entries", get_max_entries, METH_NOARGS,
     "max_entries(self) -> int | None\n\nThe most entries held; None: not bounded by them."},
    {"max_bytes", get_max_bytes, METH_NOARGS,
     "max_bytes(self) -> int | None\n\nThe most bytes held; None: not bounded by them."},
    {"ttl", get_ttl, METH_NOARGS,
     "ttl(self) -> float | None\n\nSeconds that entries are fresh by default; None: without end."},
    {"policy", get_policy, METH_NOARGS, "policy(self) -> str\n\n'adaptive' or 'lru'."},
};

// Properties whose docstrings begin with a typed signature, which getsets cannot have.
void complete(PyTypeObject* type) {
  const pybind11::handle made(reinterpret_cast<PyObject*>(type));
  const pybind11::handle property(reinterpret_cast<PyObject*>(&PyProperty_Type));
  for (PyMethodDef& definition : properties) {
    const auto getter = pybind11::reinterpret_steal<pybind11::object>(PyDescr_NewMethod(type, &definition));
    if (!getter) throw pybind11::error_already_set();
    made.attr(definition.ml_name) = property(getter);
  }
  PyType_Modified(type);
}

}  // namespace

void bind_object_cache(pybind11::module_& module) {
  static PyMemberDef members[] = {
      {"__weaklistoffset__", T_PYSSIZET, offsetof(ObjectCache, weak_references), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr},
  };
  static PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>(kTypeDoc)},
      {Py_tp_new, reinterpret_cast<void*>(make)},
      {Py_tp_init, reinterpret_cast<void*>(init)},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(clear_references)},
      {Py_tp_methods, methods},
      {Py_tp_members, members},
      {Py_mp_length, reinterpret_cast<void*>(length)},
      {Py_sq_contains, reinterpret_cast<void*>(contains)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"sentinel._core.ObjectCache", sizeof(ObjectCache), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  object_cache_type = add_type(module, spec);
  complete(object_cache_type);
}

bool is_object_cache(PyObject* object) { return PyObject_TypeCheck(object, object_cache_type) != 0; }

PyObject* object_cache_get(PyObject* cache, PyObject* key, Py_hash_t hash) {
  return store_of(cache).get(key, hash, nullptr);
}

}  // namespace sentinel::bindings
