// A fixed team of threads that run one function together.
#pragma once
#include <barrier>
#include <functional>
#include <thread>
#include <vector>

namespace aquatint {

class ThreadPool {
public:
    /// `size` workers, the calling thread being one of them. Throws std::system_error if the system refuses a thread.
    explicit ThreadPool(int size) : barrier_(size) {
        try {
            for (int worker = 1; worker < size; ++worker) threads_.emplace_back([this, worker] { loop(worker); });
        } catch (...) {
            for (int worker = 1 + static_cast<int>(threads_.size()); worker < size; ++worker)
                barrier_.arrive_and_drop();
            stop();
            throw;
        }
    }
    ~ThreadPool() { stop(); }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int size() const { return 1 + static_cast<int>(threads_.size()); }

    /// Calls job(worker) for worker = 0 to size - 1 at the same time and waits for all. The job must not throw.
    void run(const std::function<void(int)>& job) {
        job_ = &job;
        synchronise();
        job(0);
        synchronise();
    }

    /// Inside a job: waits until every worker has come here.
    void synchronise() { barrier_.arrive_and_wait(); }

private:
    void loop(int worker) {
        for (;;) {
            synchronise();
            if (!job_) return;
            (*job_)(worker);
            synchronise();
        }
    }
    void stop() {
        job_ = nullptr;
        synchronise();
        for (auto& thread : threads_) thread.join();
    }

    std::barrier<> barrier_;
    const std::function<void(int)>* job_ = nullptr;
    std::vector<std::thread> threads_;
};

}  // namespace aquatint
